//! Exchanges of requests that wait for a place.

use futures_util::{StreamExt, poll};
use signalbox_admission::OwnerNews;
use signalbox_flow::FlowKey;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_state::ScrapeStatus;

use super::polled_streams::Polled;
use super::*;
use crate::test_support::{pool, show};

/// Returns the exchange of a request that waits for the first endpoint of its pool.
async fn waiting() -> Polled {
    let mut polled = Polled::open_for(&pool(&[], ScrapeStatus::Unknown), None, 10).await;
    poll_until(&mut polled, |exchange| exchange.waiting.is_some()).await;
    assert_eq!(1, polled.picker.gate.backlogs(0)[0].1.usage.requests);
    polled
}

/// Polls an exchange, which has no answer, until it has come so far.
async fn poll_until(polled: &mut Polled, has_come: impl Fn(&Exchange) -> bool) {
    while !has_come(&polled.exchange) {
        assert!(poll!(polled.exchange.next()).is_pending(), "an answer or an end");
        tokio::task::yield_now().await;
    }
}

/// Gives the pool an endpoint, and the request a place.
fn grant(picker: &Picker) {
    show(picker, &pool(&[FIRST], ScrapeStatus::Unknown));
    let grants = vec![(FlowKey::new(0, "default-flow"), 1)];
    picker.gate.apply(0, &OwnerNews { grants, ..OwnerNews::default() });
}

async fn next(polled: &mut Polled) -> Response {
    polled.exchange.next().await.unwrap().unwrap().response.unwrap()
}

#[tokio::test]
async fn request_that_waited_goes_with_its_grant_and_is_recorded() {
    let mut polled = waiting().await;
    grant(&polled.picker);
    assert!(matches!(next(&mut polled).await, Response::RequestHeaders(_)));
    assert!(matches!(next(&mut polled).await, Response::RequestBody(_)));
    assert_eq!(1, polled.picker.bookings.loads()[0].1.requests);
    assert!(polled.picker.gate.backlogs(0).is_empty());
    let flow = polled.exchange.summary.flow.clone().unwrap();
    assert_eq!("Dispatched", flow.outcome);
    assert!(flow.waited > Duration::ZERO);
}

#[tokio::test]
async fn request_of_a_half_closed_stream_goes_on_waiting() {
    let mut polled = waiting().await;
    polled.messages = None;
    poll_until(&mut polled, |exchange| exchange.state == State::HalfClosedInQueue).await;
    assert!(polled.exchange.waiting.is_some());
    grant(&polled.picker);
    assert!(matches!(next(&mut polled).await, Response::RequestHeaders(_)));
    assert!(matches!(next(&mut polled).await, Response::RequestBody(_)));
    assert!(polled.exchange.state == State::HalfClosed);
    assert_eq!(1, polled.picker.bookings.loads()[0].1.requests);
}

#[tokio::test]
async fn stream_that_is_dropped_gives_its_place_up() {
    let polled = waiting().await;
    let picker = Arc::clone(&polled.picker);
    drop(polled);
    assert!(picker.gate.backlogs(0).is_empty());
    grant(&picker);
    assert!(picker.bookings.loads().is_empty(), "nobody is left to use the grant");
}

/// It does so when a timeout of its own has passed.
#[tokio::test]
async fn request_that_the_gateway_answers_by_itself_gives_its_place_up() {
    let mut polled = waiting().await;
    let answer = Request::ResponseHeaders(headers(&[(":status", "504")], true));
    polled.messages.as_ref().unwrap().send(answer.into()).await.unwrap();
    assert!(matches!(next(&mut polled).await, Response::ResponseHeaders(_)));
    assert!(polled.exchange.waiting.is_none() && polled.picker.gate.backlogs(0).is_empty());
    grant(&polled.picker);
    assert!(polled.picker.bookings.loads().is_empty());
}

#[tokio::test]
async fn request_that_waited_in_vain_is_told_why() {
    let mut polled = waiting().await;
    // Longer than the time to live.
    polled.picker.gate.tick(3_600_000, 0, || None);
    let Response::ImmediateResponse(refusal) = next(&mut polled).await else { panic!("not a refusal") };
    assert_eq!(503, refusal.status.unwrap().code);
    let headers = refusal.headers.unwrap().set_headers;
    let headers: Vec<_> = headers.into_iter().filter_map(|option| option.header).collect();
    let value = |name: &str| {
        let header = headers.iter().find(|header| header.key == name).unwrap();
        String::from_utf8(header.raw_value.to_vec()).unwrap()
    };
    assert_eq!("rejected-no-endpoints", value("x-llm-d-request-dropped-reason"));
    assert_eq!("1", value("retry-after"));
    assert!(polled.exchange.next().await.is_none());
    assert_eq!("EvictedNoEndpoints", polled.exchange.summary.flow.clone().unwrap().outcome);
}
