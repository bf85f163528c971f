//! A small HTTP client, and pods to test.

use std::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use signalbox_modelsim::{ModelConfig, ModelServer, PodConfig};
use tokio::net::{TcpListener, TcpStream};

/// Starts a pod at 100 times real time.
pub(crate) async fn pod(model: ModelConfig) -> ModelServer {
    pod_of(PodConfig { model, ..PodConfig::default() }).await
}

/// Starts a pod with `config`, except for its name and speed, that tells the cached tokens.
pub(crate) async fn pod_of(config: PodConfig) -> ModelServer {
    let config = PodConfig { name: "pod-a".to_owned(), prompt_tokens_details: true, speed: 100.0, ..config };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    ModelServer::start(config, listener).unwrap()
}

/// Sends one request over a new connection, which stays open as long as the response lives.
pub(crate) async fn send(
    to: SocketAddr,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> Response<Incoming> {
    let stream = TcpStream::connect(to).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", "pod").body(Full::new(body.into()));
    sender.send_request(request.unwrap()).await.unwrap()
}

pub(crate) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(crate) async fn json(response: Response<Incoming>) -> Value {
    serde_json::from_str(&text(response).await).unwrap()
}

pub(crate) async fn post(to: SocketAddr, path: &str, body: &Value) -> Response<Incoming> {
    send(to, Method::POST, path, body.to_string()).await
}

pub(crate) async fn get(to: SocketAddr, path: &str) -> Response<Incoming> {
    send(to, Method::GET, path, "").await
}

/// Parses the events of a stream. The final `[DONE]` is required and not part of the result.
pub(crate) fn events(stream: &str) -> Vec<Value> {
    let mut events: Vec<&str> =
        stream.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect();
    assert_eq!(events.pop(), Some("[DONE]"));
    events.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// Returns the value of the sample whose line starts with `name`.
pub(crate) fn sample(page: &str, name: &str) -> f64 {
    let line =
        page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} not in\n{page}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}
