//! A gateway and a probe: they ask a replica over gRPC, and read its metrics port.

use std::net::SocketAddr;
use std::time::Duration;

use signalbox_protos::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
use signalbox_protos::envoy::service::ext_proc::v3::processing_response::Response;
use signalbox_protos::envoy::service::ext_proc::v3::{
    HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// Time limit for conditions that must come true.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Time between two checks of a condition.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `check` returns a value.
pub(crate) async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let until = async {
        loop {
            match check().await {
                Some(value) => return value,
                None => tokio::time::sleep(CHECK_INTERVAL).await,
            }
        }
    };
    tokio::time::timeout(TIMEOUT, until).await.unwrap_or_else(|_| panic!("not within {TIMEOUT:?}: {what}"))
}

/// Connects to a port; `None` if nobody accepts.
pub(crate) async fn connect(address: SocketAddr) -> Option<Channel> {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.ok()
}

/// A request whose body is still to come.
pub(crate) struct OpenRequest {
    messages: mpsc::Sender<ProcessingRequest>,
    answers: Streaming<ProcessingResponse>,
}

impl OpenRequest {
    /// Sends the headers of a request.
    pub(crate) async fn start(channel: Channel) -> Option<Self> {
        let (messages, requests) = mpsc::channel(2);
        let headers = [(":method", "POST"), (":path", "/v1/completions")].into_iter().collect();
        let headers = HttpHeaders { headers: Some(headers), ..HttpHeaders::default() };
        messages.send(Request::RequestHeaders(headers).into()).await.unwrap();
        let mut client = ExternalProcessorClient::new(channel);
        let answers = client.process(ReceiverStream::new(requests)).await.ok()?.into_inner();
        Some(Self { messages, answers })
    }

    /// Sends the body, with a prompt of so many of these letters.
    pub(crate) async fn send_prompt(&self, letter: char, count: usize) {
        let body = format!(r#"{{"model":"llama","prompt":"{}"}}"#, letter.to_string().repeat(count));
        let body = Request::RequestBody(HttpBody { body: body.into(), end_of_stream: true });
        self.messages.send(body.into()).await.unwrap();
    }

    /// Returns the first answer: a destination, or a refusal.
    pub(crate) async fn answer(&mut self) -> Response {
        let answer = tokio::time::timeout(TIMEOUT, self.answers.message()).await;
        answer.expect("there is no answer").unwrap().unwrap().response.unwrap()
    }

    /// Waits until the stream fails.
    pub(crate) async fn fails(mut self) {
        let answer = tokio::time::timeout(TIMEOUT, self.answers.message()).await;
        assert!(answer.expect("the stream stays open").is_err());
    }

    /// Sends the body and returns the address of the picked endpoint; `None` if there is none.
    pub(crate) async fn finish(mut self) -> Option<String> {
        let body = br#"{"model":"llama","prompt":"Hi"}"#.to_vec().into();
        let body = Request::RequestBody(HttpBody { body, end_of_stream: true });
        self.messages.send(body.into()).await.ok()?;
        destination(self.answers.message().await.ok()??.response?)
    }
}

/// Asks like NGINX Gateway Fabric: sends a client's headers and a body, ends its messages, and reads answers until the
/// stream ends. Returns the address of the picked endpoint.
pub(crate) async fn ask_with_client_headers(address: SocketAddr, body: String) -> String {
    let header = HeaderValue {
        key: "Content-Type".to_owned(),
        value: "application/json".to_owned(),
        ..HeaderValue::default()
    };
    let headers = HttpHeaders { headers: Some(HeaderMap { headers: vec![header] }), end_of_stream: false };
    let body = HttpBody { body: body.into(), end_of_stream: true };
    let messages = [Request::RequestHeaders(headers).into(), Request::RequestBody(body).into()];
    let mut client = ExternalProcessorClient::new(connect(address).await.unwrap());
    let mut answers = client.process(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let mut picked = None;
    while let Some(answer) = tokio::time::timeout(TIMEOUT, answers.message()).await.unwrap().unwrap() {
        picked = picked.or_else(|| destination(answer.response.unwrap()));
    }
    picked.unwrap()
}

/// Returns the address of the picked endpoint in an answer.
fn destination(answer: Response) -> Option<String> {
    let Response::RequestHeaders(answer) = answer else { return None };
    let headers = answer.response?.header_mutation?.set_headers;
    let is_destination = |option: &HeaderValueOption| {
        option.header.as_ref().is_some_and(|header| header.key == "x-gateway-destination-endpoint")
    };
    let header = headers.into_iter().find(is_destination)?.header?;
    Some(String::from_utf8(header.raw_value.to_vec()).unwrap())
}

/// Asks for an endpoint and returns its address; `None` without an answer.
pub(crate) async fn ask(address: SocketAddr) -> Option<String> {
    OpenRequest::start(connect(address).await?).await?.finish().await
}

/// Returns the health of a service at `address`; `None` without an answer.
pub(crate) async fn health(address: SocketAddr, service: &str) -> Option<ServingStatus> {
    let mut client = HealthClient::new(connect(address).await?);
    let request = HealthCheckRequest { service: service.to_owned() };
    Some(client.check(request).await.ok()?.into_inner().status())
}

/// Returns the status line and the body of a request to the metrics port.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}
