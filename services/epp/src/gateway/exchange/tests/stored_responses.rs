//! Responses that endpoints keep.

use signalbox_intake::ParsedRequest;
use signalbox_protos::envoy::service::ext_proc::v3::BodySendMode;
use signalbox_state::{ResponseOutcome, ScrapeStatus};
use signalbox_types::ResponseKey;

use super::polled_streams::Polled;
use super::*;
use crate::deciding::picker::FeedbackEvent;
use crate::test_support::{granted, pool, prompt_of};

const CREATED: &str =
    "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\"}}\n\n";

#[tokio::test]
async fn endpoint_that_keeps_a_response_is_known_as_soon_as_the_response_begins() {
    let pool = pool(&[FIRST, SECOND], ScrapeStatus::Fresh);
    let request = [(":method", "POST"), (":path", "/v1/responses")];
    let body = r#"{"model":"m","input":"a","stream":true}"#.to_owned();
    let mode = Some(BodySendMode::FullDuplexStreamed);
    let mut polled = Polled::open_with(&pool, mode, &request, body).await;
    polled.take_answer().await;
    polled.take_answer().await;
    let endpoint = polled.exchange.booked.as_ref().unwrap().endpoint;
    polled.respond("200", &[CREATED]).await;
    let events = std::iter::from_fn(|| polled.feedback.events.try_recv().ok());
    let stored: Vec<_> = events
        .filter_map(|event| match event {
            FeedbackEvent::Response(report) => Some((report.endpoint, report.outcome)),
            FeedbackEvent::Usage(_) | FeedbackEvent::AdapterUsed(..) => None,
        })
        .collect();
    let response = ResponseKey::of("resp_1");
    assert_eq!(vec![(endpoint, ResponseOutcome::Stored(response))], stored);
    for _ in 0..8 {
        let next = ParsedRequest { stored_response: Some(response), ..prompt_of(1, 256) };
        assert_eq!(endpoint, polled.picker.pick(next, granted()).unwrap().booked.endpoint);
    }
}
