//! Which requests count as served.

use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;

use super::polled_streams::{ERROR, Polled, ROLE, TEXT};
use super::*;

#[tokio::test]
async fn request_is_served_if_its_response_is_no_error() {
    for (status, pieces, service) in [
        ("200", &[ROLE, TEXT][..], Service::Served),
        ("200", &[TEXT, ERROR], Service::Served),
        ("200", &[ROLE, ERROR], Service::Unserved),
        ("404", &[], Service::Unserved),
    ] {
        let mut polled = Polled::open(Some(BodySendMode::FullDuplexStreamed), 100).await;
        polled.take_answer().await;
        polled.take_answer().await;
        polled.respond(status, pieces).await;
        polled.exchange.report();
        assert_eq!(Some(service), polled.exchange.summary.service, "{status} {pieces:?}");
    }
    for (mode, service) in
        [(BodySendMode::FullDuplexStreamed, None), (BodySendMode::None, Some(Service::Served))]
    {
        let mut polled = Polled::open(Some(mode), 100).await;
        polled.take_answer().await;
        polled.exchange.report();
        assert_eq!(service, polled.exchange.summary.service, "{mode:?}");
    }
}
