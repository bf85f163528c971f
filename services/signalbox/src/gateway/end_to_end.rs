//! The gateway between a fake picker and a fake model server, over real sockets.

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

use super::fake::{Answer, Manner, Seen, listener, model_server, picker};
use super::{Dialling, Drained, Gateway, Handle};

const LONG: Duration = Duration::from_secs(30);

async fn gateway(pickers: &[SocketAddr]) -> Handle {
    Gateway::start(listener().await, pickers, Dialling::Plaintext).unwrap()
}

async fn post(gateway: &Handle, body: Bytes) -> Response<Incoming> {
    let request = Request::post(format!("http://{}/v1/completions?x=1", gateway.address))
        .header("x-removed", "1")
        .body(Full::new(body))
        .unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

async fn get(gateway: &Handle) -> Response<Incoming> {
    let request =
        Request::get(format!("http://{}/v1/models", gateway.address)).body(Full::<Bytes>::default()).unwrap();
    Client::builder(TokioExecutor::new()).build_http().request(request).await.unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn pieces() -> (mpsc::Sender<Bytes>, Answer) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Answer::Pieces(Arc::new(Mutex::new(Some(receiver)))))
}

async fn next_end(seen: &mut mpsc::UnboundedReceiver<Seen>) -> Seen {
    loop {
        match seen.recv().await.unwrap() {
            Seen::Headers(_) => {}
            end => return end,
        }
    }
}

/// The address of a port that nobody listens on.
async fn nobody() -> SocketAddr {
    listener().await.local_addr().unwrap()
}

#[tokio::test]
async fn bodies_of_every_size_are_unchanged_both_ways() {
    let (upstream, mut got) = model_server(Answer::Echo).await;
    let (picker, mut seen) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    for size in [0_usize, 30, 62_000, 300_000, 4_000_000] {
        let body: Bytes = (0..size).map(|index| (index * 31 % 251) as u8).collect();
        let response = post(&gateway, body.clone()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["x-seen-by"], "picker");
        assert!(response.into_body().collect().await.unwrap().to_bytes() == body, "{size} bytes back");
        let got = got.recv().await.unwrap();
        assert!(got.body == body, "{size} bytes there");
        assert_eq!(got.headers["x-added"], "yes");
        assert!(!got.headers.contains_key("x-removed"));
        assert_eq!(got.headers["host"], gateway.address.to_string());
        assert!(matches!(next_end(&mut seen).await, Seen::Complete), "{size}");
    }
}

#[tokio::test]
async fn many_clients_at_once_each_get_their_own() {
    let (upstream, _got) = model_server(Answer::Echo).await;
    let (first, _seen_first) = picker(Manner::Route(upstream)).await;
    let (second, _seen_second) = picker(Manner::Route(upstream)).await;
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
    let (upstream, _got) = model_server(Answer::Echo).await;
    let (picker, mut seen) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    post(&gateway, Bytes::from_static(b"{}")).await;
    let Some(Seen::Headers(headers)) = seen.recv().await else { panic!("no headers") };
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
    let (feed, answer) = pieces();
    let (upstream, _got) = model_server(answer).await;
    let (picker, _seen) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let mut body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    // Each chunk is sent only when the client has the one before it.
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
    let (picker, mut seen) = picker(Manner::Refuse).await;
    let gateway = gateway(&[picker]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["x-llm-d-request-dropped-reason"], "rejected-saturated");
    assert_eq!(text(response).await, "inference error: ResourceExhausted - full");
    assert!(matches!(next_end(&mut seen).await, Seen::Complete));
}

#[tokio::test]
async fn a_dead_replica_is_skipped_and_the_others_take_turns() {
    let (upstream, _got) = model_server(Answer::Echo).await;
    let (first, mut seen_first) = picker(Manner::Route(upstream)).await;
    let (second, mut seen_second) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[nobody().await, first, second]).await;
    for _ in 0..6 {
        assert_eq!(text(post(&gateway, Bytes::from_static(b"{}")).await).await, "{}");
    }
    let mut counts = [0, 0];
    for (count, seen) in counts.iter_mut().zip([&mut seen_first, &mut seen_second]) {
        while let Ok(seen) = seen.try_recv() {
            *count += usize::from(matches!(seen, Seen::Headers(_)));
        }
    }
    assert_eq!(counts[0] + counts[1], 6);
    assert!(counts[0].min(counts[1]) >= 2, "{counts:?}");
}

#[tokio::test]
async fn without_any_picker_the_answer_says_so() {
    let dead = nobody().await;
    let gateway = gateway(&[dead]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = text(response).await;
    assert!(text.contains("no endpoint picker is available") && text.contains(&dead.to_string()), "{text}");
}

#[tokio::test]
async fn a_picker_lost_with_the_body_is_not_replaced() {
    let (upstream, _got) = model_server(Answer::Echo).await;
    let (swallows, _first) = picker(Manner::Swallow).await;
    let (routes, mut second) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[swallows, routes]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(text(response).await.contains("told to fail"));
    assert!(second.try_recv().is_err());
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_named() {
    let dead = nobody().await;
    let (picker, mut seen) = picker(Manner::Route(dead)).await;
    let gateway = gateway(&[picker]).await;
    let response = post(&gateway, Bytes::from(vec![b'x'; 300_000])).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = text(response).await;
    assert!(text.contains(&format!("cannot connect to the endpoint {dead}")), "{text}");
    assert!(matches!(next_end(&mut seen).await, Seen::Aborted));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_stream_and_the_upstream_request() {
    let (feed, answer) = pieces();
    let (upstream, _got) = model_server(answer).await;
    let (picker, mut seen) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let mut body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    feed.send(Bytes::from_static(b"data: 1\n\n")).await.unwrap();
    body.frame().await.unwrap().unwrap();
    drop(body);
    assert!(matches!(next_end(&mut seen).await, Seen::Aborted));
    feed.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_ends_the_stream() {
    let (upstream, mut got) = model_server(pieces().1).await;
    let silent = listener().await;
    let (picker, mut seen) = picker(Manner::Route(silent.local_addr().unwrap())).await;
    let gateway = gateway(&[picker]).await;
    let request = tokio::spawn(async move { post(&gateway, Bytes::from_static(b"{}")).await });
    // Whoever accepts and says nothing is a model server that is thinking.
    let (thinking, _) = silent.accept().await.unwrap();
    thinking.readable().await.unwrap();
    request.abort();
    assert!(matches!(next_end(&mut seen).await, Seen::Aborted));
    assert!(got.try_recv().is_err(), "nobody else was asked: {upstream}");
}

#[tokio::test]
async fn a_picker_that_closes_or_fails_between_bodies_is_not_missed() {
    let (upstream, _got) = model_server(Answer::Echo).await;
    for manner in [Manner::RouteAndClose(upstream), Manner::RouteAndFail(upstream)] {
        let (picker, _seen) = picker(manner).await;
        let gateway = gateway(&[picker]).await;
        let body = "x".repeat(300_000);
        assert!(text(post(&gateway, Bytes::from(body.clone())).await).await == body);
        assert_eq!(get(&gateway).await.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_picker_that_fails_with_a_chunk_cuts_the_response() {
    let (upstream, _got) = model_server(Answer::Echo).await;
    let (picker, _seen) = picker(Manner::RouteAndSwallow(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let response = post(&gateway, Bytes::from_static(b"{}")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn shutdown_waits_for_what_is_in_flight() {
    let (feed, answer) = pieces();
    let (upstream, _got) = model_server(answer).await;
    let (picker, _seen) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let address = gateway.address;
    let body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    let shutdown = tokio::spawn(gateway.shutdown(LONG));
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    feed.send(Bytes::from_static(b"the end")).await.unwrap();
    drop(feed);
    assert_eq!(body.collect().await.unwrap().to_bytes(), "the end");
    assert_eq!(shutdown.await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn shutdown_cuts_what_outlasts_its_patience() {
    let (_feed, answer) = pieces();
    let (upstream, _got) = model_server(answer).await;
    let (picker, mut seen) = picker(Manner::Route(upstream)).await;
    let gateway = gateway(&[picker]).await;
    let body = post(&gateway, Bytes::from_static(b"{}")).await.into_body();
    assert_eq!(gateway.shutdown(Duration::ZERO).await, Drained::Cut);
    assert!(body.collect().await.is_err());
    assert!(matches!(next_end(&mut seen).await, Seen::Aborted));
}
