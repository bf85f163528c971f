//! The gateway between a fake picker and a fake model server, over real sockets.

mod fakes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::sync::mpsc;

use super::{Drained, Gateway, GatewayHandle, PickerTransport};
use fakes::{PickerBehavior, PickerEvent, ServerResponse, listener, model_server, picker};

const LONG_TIMEOUT: Duration = Duration::from_secs(30);

async fn gateway(pickers: &[SocketAddr]) -> GatewayHandle {
    Gateway::start(listener().await, pickers, PickerTransport::Plaintext).unwrap()
}

async fn post(gateway: &GatewayHandle, body: Bytes) -> Response<Incoming> {
    let request = Request::post(format!("http://{}/v1/completions?x=1", gateway.address))
        .header("x-removed", "1")
        .body(Full::new(body))
        .unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

async fn get(gateway: &GatewayHandle) -> Response<Incoming> {
    let request =
        Request::get(format!("http://{}/v1/models", gateway.address)).body(Full::<Bytes>::default()).unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn chunks() -> (mpsc::Sender<Bytes>, ServerResponse) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, ServerResponse::Chunks(Arc::new(Mutex::new(Some(receiver)))))
}

/// Returns the event by which the next stream ends.
async fn next_end(events: &mut mpsc::UnboundedReceiver<PickerEvent>) -> PickerEvent {
    loop {
        match events.recv().await.unwrap() {
            PickerEvent::Headers(_) => {}
            end => return end,
        }
    }
}

/// Returns the address of a port without a listener.
async fn unused_address() -> SocketAddr {
    listener().await.local_addr().unwrap()
}

#[tokio::test]
async fn bodies_of_every_size_pass_unchanged_in_both_directions() {
    let (upstream, mut got) = model_server(ServerResponse::Echo).await;
    let (picker, mut events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    for size in [0_usize, 30, 62_000, 300_000, 4_000_000] {
        let body: Bytes = (0..size).map(|index| (index * 31 % 251) as u8).collect();
        let response = post(&gateway, body.clone()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-seen-by"], "picker");
        assert_eq!(response.headers()["x-gateway-destination-endpoint-served"], upstream.to_string());
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body, "response of {size} bytes");
        let got = got.recv().await.unwrap();
        assert!(got.body == body, "request of {size} bytes");
        assert_eq!(got.headers["x-added"], "yes");
        assert!(!got.headers.contains_key("x-removed"));
        assert_eq!(got.headers["host"], gateway.address.to_string());
        assert!(matches!(next_end(&mut events).await, PickerEvent::Complete), "{size}");
    }
}

#[tokio::test]
async fn concurrent_clients_get_their_own_responses() {
    let (upstream, _got) = model_server(ServerResponse::Echo).await;
    let (first, _first_events) = picker(PickerBehavior::Route(upstream)).await;
    let (second, _second_events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[first, second]).await;
    let bodies = (0..500).map(|index| format!("{index}").repeat(1_000));
    let gateway = &gateway;
    let answers = bodies.map(async |body| {
        assert!(text(post(gateway, Bytes::from(body.clone())).await).await == body);
    });
    futures_util::future::join_all(answers).await;
}

#[tokio::test]
async fn the_picker_sees_pseudo_headers() {
    let (upstream, _got) = model_server(ServerResponse::Echo).await;
    let (picker, mut events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    post(&gateway, Bytes::from_static(b"{}")).await;
    let Some(PickerEvent::Headers(headers)) = events.recv().await else { panic!("no headers") };
    let value = |name: &str| {
        let found = headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        String::from_utf8(found.unwrap_or_default().to_vec()).unwrap()
    };
    assert_eq!(value(":method"), "POST");
    assert_eq!(value(":path"), "/v1/completions?x=1");
    assert_eq!(value(":scheme"), "http");
    assert_eq!(value(":authority"), gateway.address.to_string());
    assert_eq!(value("content-length"), "2");
    assert_eq!(value("x-removed"), "1");
}

#[tokio::test]
async fn a_response_streams_chunk_by_chunk() {
    let (feed, answer) = chunks();
    let (upstream, _got) = model_server(answer).await;
    let (picker, _events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let mut body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    // Each chunk is sent only after the client received the previous one.
    for index in 0..20 {
        let event = Bytes::from(format!("data: {index}\n\n"));
        feed.send(event.clone()).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), event);
    }
    drop(feed);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn an_immediate_response_reaches_the_client() {
    let (picker, mut events) = picker(PickerBehavior::Reject).await;
    let gateway = gateway(&[picker]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["x-llm-d-request-dropped-reason"], "rejected-saturated");
    assert_eq!(text(response).await, "inference error: ResourceExhausted - full");
    assert!(matches!(next_end(&mut events).await, PickerEvent::Complete));
}

#[tokio::test]
async fn a_dead_picker_is_skipped_and_the_others_take_turns() {
    let (upstream, _got) = model_server(ServerResponse::Echo).await;
    let (first, mut first_events) = picker(PickerBehavior::Route(upstream)).await;
    let (second, mut second_events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[unused_address().await, first, second]).await;
    for _ in 0..6 {
        assert_eq!(text(post(&gateway, Bytes::from_static(b"{}")).await).await, "{}");
    }
    let mut counts = [0, 0];
    for (count, events) in counts.iter_mut().zip([&mut first_events, &mut second_events]) {
        while let Ok(event) = events.try_recv() {
            *count += usize::from(matches!(event, PickerEvent::Headers(_)));
        }
    }
    assert_eq!(counts[0] + counts[1], 6);
    assert!(counts[0].min(counts[1]) >= 2, "{counts:?}");
}

#[tokio::test]
async fn without_a_picker_the_error_names_the_last_attempt() {
    let dead = unused_address().await;
    let gateway = gateway(&[dead]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = text(response).await;
    assert!(text.contains("no endpoint picker is available") && text.contains(&dead.to_string()), "{text}");
}

#[tokio::test]
async fn no_other_picker_is_tried_after_one_fails_with_the_body() {
    let (upstream, _got) = model_server(ServerResponse::Echo).await;
    let (swallows, _first) = picker(PickerBehavior::FailAtRequestBody).await;
    let (routes, mut second) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[swallows, routes]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("injected failure"));
    assert!(second.try_recv().is_err());
}

#[tokio::test]
async fn an_unreachable_endpoint_is_named_in_the_error() {
    let dead = unused_address().await;
    let (picker, mut events) = picker(PickerBehavior::Route(dead)).await;
    let gateway = gateway(&[picker]).await;
    let response = post(&gateway, Bytes::from(vec![b'x'; 300_000])).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = text(response).await;
    assert!(text.contains(&format!("cannot connect to the endpoint {dead}")), "{text}");
    assert!(matches!(next_end(&mut events).await, PickerEvent::Aborted));
}

#[tokio::test]
async fn a_client_disconnect_cancels_the_stream_and_the_upstream_request() {
    let (feed, answer) = chunks();
    let (upstream, _got) = model_server(answer).await;
    let (picker, mut events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let mut body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    feed.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(matches!(next_end(&mut events).await, PickerEvent::Aborted));
    feed.closed().await;
}

#[tokio::test]
async fn a_client_disconnect_before_the_response_cancels_the_stream() {
    let (upstream, mut got) = model_server(chunks().1).await;
    let silent = listener().await;
    let (picker, mut events) = picker(PickerBehavior::Route(silent.local_addr().unwrap())).await;
    let gateway = gateway(&[picker]).await;
    let request = tokio::spawn(async move { post(&gateway, Bytes::from_static(b"{}")).await });
    // A server that accepts and sends nothing acts as a model server that is still computing.
    let (computing, _) = silent.accept().await.unwrap();
    computing.readable().await.unwrap();
    request.abort();
    assert!(matches!(next_end(&mut events).await, PickerEvent::Aborted));
    assert!(got.try_recv().is_err(), "the request went to another server: {upstream}");
}

#[tokio::test]
async fn a_request_survives_a_picker_that_ends_between_the_bodies() {
    let (upstream, _got) = model_server(ServerResponse::Echo).await;
    for behavior in
        [PickerBehavior::CloseAfterRequest(upstream), PickerBehavior::FailAtResponseHeaders(upstream)]
    {
        let (picker, _events) = picker(behavior).await;
        let gateway = gateway(&[picker]).await;
        let body = "x".repeat(300_000);
        assert!(text(post(&gateway, Bytes::from(body.clone())).await).await == body);
        assert_eq!(get(&gateway).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_picker_that_fails_while_it_has_a_chunk_aborts_the_response() {
    let (upstream, _got) = model_server(ServerResponse::Echo).await;
    let (picker, _events) = picker(PickerBehavior::FailAtResponseBody(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn shutdown_waits_for_requests_in_flight() {
    let (feed, answer) = chunks();
    let (upstream, _got) = model_server(answer).await;
    let (picker, _events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let address = gateway.address;
    let body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    let shutdown = tokio::spawn(gateway.shutdown(LONG_TIMEOUT));
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    feed.send(Bytes::from_static(b"the end")).await.unwrap();
    drop(feed);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "the end");
    assert_eq!(shutdown.await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn shutdown_aborts_requests_that_outlast_the_timeout() {
    let (_feed, answer) = chunks();
    let (upstream, _got) = model_server(answer).await;
    let (picker, mut events) = picker(PickerBehavior::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    assert_eq!(gateway.shutdown(Duration::ZERO).await, Drained::Aborted);
    assert!(body.collect().await.is_err());
    assert!(matches!(next_end(&mut events).await, PickerEvent::Aborted));
}
