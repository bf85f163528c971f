//! Exchanges of requests that give up their places.

use futures_util::{StreamExt, poll};
use signalbox_admission::OwnerNews;
use signalbox_flow::{Revocable, RevocableClass};
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;
use signalbox_state::GaugeScope;

use super::polled_streams::Polled;
use super::*;

const CLASS: RevocableClass = RevocableClass { priority: -1, is_processed: false };

/// Returns the exchange of a sheddable request that was sent to its endpoint. The gateway announces how it sends the response's
/// body, if a mode is given.
async fn sent(response_mode: Option<BodySendMode>) -> Polled {
    let mut polled = Polled::open(response_mode, 10).await;
    polled.take_answer().await;
    polled.take_answer().await;
    polled.exchange.make_revocable(-1, 50);
    polled
}

/// Orders to revoke the request, for a critical one that waits elsewhere.
fn order(picker: &Picker) {
    let revocations = vec![(CLASS, 1)];
    picker.gate.apply(0, &OwnerNews { revocations, highest_elsewhere: Some(10), ..OwnerNews::default() });
}

fn reported(picker: &Picker) -> Vec<(RevocableClass, Revocable)> {
    picker.gate.report_revocable(0, GaugeScope::Changed)
}

#[tokio::test]
async fn request_is_revoked_once_and_its_booking_released_before_that_counts() {
    let mut polled = sent(Some(BodySendMode::FullDuplexStreamed)).await;
    let before = reported(&polled.picker);
    assert_eq!((1, 50, 0), (before[0].1.requests, before[0].1.tokens, before[0].1.revoked));
    order(&polled.picker);
    assert!(reported(&polled.picker).is_empty(), "it is still booked");
    let answer = polled.exchange.next().await.unwrap().unwrap().response.unwrap();
    let Response::ImmediateResponse(answer) = answer else { panic!("{answer:?}") };
    assert_eq!(429, answer.status.unwrap().code);
    let reasons = answer.headers.unwrap().set_headers.into_iter().filter_map(|option| option.header);
    let mut reasons = reasons.filter(|header| header.key == "x-llm-d-request-dropped-reason");
    assert_eq!(b"evicted", &*reasons.next().unwrap().raw_value);
    assert!(polled.picker.bookings.loads().is_empty());
    assert_eq!(vec![(CLASS, Revocable { revoked: 1, ..Revocable::default() })], reported(&polled.picker));
    assert!(polled.exchange.next().await.is_none());
    assert!(polled.feedback.events.try_recv().is_err(), "nothing speaks against the endpoint");
}

#[tokio::test]
async fn request_whose_response_has_begun_is_not_revoked() {
    let mut polled = sent(Some(BodySendMode::FullDuplexStreamed)).await;
    polled.respond("200", &[]).await;
    assert!(reported(&polled.picker).is_empty(), "nothing can be revoked");
    order(&polled.picker);
    assert!(poll!(polled.exchange.next()).is_pending());
    assert_eq!(1, polled.picker.bookings.loads()[0].1.requests);
}

#[tokio::test]
async fn request_whose_response_may_be_hidden_is_not_revoked() {
    for mode in [Some(BodySendMode::None), None] {
        let mut polled = sent(mode).await;
        order(&polled.picker);
        assert!(poll!(polled.exchange.next()).is_pending());
        assert_eq!(1, polled.picker.bookings.loads()[0].1.requests);
    }
}

#[tokio::test]
async fn only_sheddable_requests_are_revoked_and_only_with_the_settings() {
    let mut polled = sent(Some(BodySendMode::FullDuplexStreamed)).await;
    polled.exchange.make_revocable(0, 50);
    assert!(polled.exchange.revocable.is_none() && reported(&polled.picker).is_empty());
}
