//! Requests that wait while the pool is full. The aggregator reads no feedback, so that the replica grants by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use signalbox_epp::{EppConfig, FlowControl, FlowMode};
use signalbox_flow::FlowSettings;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;

use crate::gateway::{OpenRequest, connect, eventually, get};
use crate::{PORTS, Served};

/// A prompt that keeps an endpoint busy for longer than a test takes: two million tokens.
const LONG: usize = 8 << 20;

async fn serve(settings: FlowSettings) -> Served {
    let flow_control = FlowControl { mode: FlowMode::On, settings: Arc::new(settings) };
    let served = Served::start_config(EppConfig { flow_control, ..EppConfig::local("epp") }).await;
    served.aggregator.set_pools(&[("chat", PORTS[0], 1)]);
    served.wait_served("chat", PORTS[0]).await;
    served
}

/// Sends a request that makes the endpoint busy, or has to wait for it.
async fn send(served: &Served) -> OpenRequest {
    let channel = connect(served.address(PORTS[0])).await.unwrap();
    let request = OpenRequest::start(channel).await.unwrap();
    // No two have the same beginning, which the endpoint would hold in its cache.
    static REQUESTS: AtomicU8 = AtomicU8::new(b'a');
    request.send_prompt(char::from(REQUESTS.fetch_add(1, Ordering::Relaxed)), LONG).await;
    request
}

/// Waits until so many requests wait.
async fn wait_queued(served: &Served, count: usize) {
    let address = served.epp.metrics_address();
    let is_queued = async || {
        let queues: serde_json::Value = serde_json::from_str(&get(address, "/queues").await.1).unwrap();
        let queued: u64 =
            queues["here"].as_array()?.iter().filter_map(|flow| flow["requests"].as_u64()).sum();
        (queued == count as u64).then_some(())
    };
    eventually(&format!("{count} requests wait"), is_queued).await;
}

fn is_destination(answer: &Response) -> bool {
    matches!(answer, Response::RequestHeaders(_))
}

#[tokio::test]
async fn waiting_requests_go_in_order_when_the_endpoint_has_room() {
    let served = serve(FlowSettings::default()).await;
    let mut running = send(&served).await;
    assert!(is_destination(&running.answer().await), "the pool is idle");
    let mut first = send(&served).await;
    wait_queued(&served, 1).await;
    let second = send(&served).await;
    wait_queued(&served, 2).await;
    let cancelled = send(&served).await;
    wait_queued(&served, 3).await;
    drop(cancelled);
    wait_queued(&served, 2).await;
    let page = served.metrics().await;
    let size = "llm_d_epp_flow_control_queue_size{pool=\"default/chat\",fairness_id=\"default-flow\",priority=\"0\"} 2";
    assert!(page.contains(size), "{page}");
    // The running request ends, and one has room.
    drop(running);
    assert!(is_destination(&first.answer().await));
    wait_queued(&served, 1).await;
    drop(first);
    wait_queued(&served, 0).await;
    drop(second);
    served.epp.stop().await;
}

#[tokio::test]
async fn request_that_waits_for_too_long_is_told_so() {
    let served = serve(FlowSettings { request_ttl_ms: Some(300), ..FlowSettings::default() }).await;
    let mut running = send(&served).await;
    assert!(is_destination(&running.answer().await));
    let mut refused = send(&served).await;
    let Response::ImmediateResponse(answer) = refused.answer().await else { panic!("not refused") };
    assert_eq!(429, answer.status.unwrap().code);
    let headers = answer.headers.unwrap().set_headers.into_iter().filter_map(|option| option.header);
    let headers: Vec<_> = headers.map(|header| (header.key, header.raw_value.to_vec())).collect();
    let reason = ("x-llm-d-request-dropped-reason".to_owned(), b"rejected-ttl-expired".to_vec());
    assert!(headers.contains(&reason), "{headers:?}");
    assert!(headers.iter().any(|(name, _)| name == "retry-after"), "{headers:?}");
    served.epp.stop().await;
}

#[tokio::test]
async fn requests_that_wait_when_the_replica_drains_are_refused_in_time() {
    let served = serve(FlowSettings::default()).await;
    let mut running = send(&served).await;
    assert!(is_destination(&running.answer().await));
    let mut waiting = send(&served).await;
    wait_queued(&served, 1).await;
    let stop = tokio::spawn(served.epp.stop());
    let Response::ImmediateResponse(answer) = waiting.answer().await else { panic!("not refused") };
    assert_eq!(503, answer.status.unwrap().code);
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!("ServiceUnavailable", body["error"]["code"], "{body}");
    drop(running);
    stop.await.unwrap();
}
