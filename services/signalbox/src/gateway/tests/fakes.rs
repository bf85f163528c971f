//! A fake picker and a fake model server for tests of the gateway.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use signalbox_protos::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use signalbox_protos::envoy::service::ext_proc::v3 as wire;
use signalbox_protos::envoy::r#type::v3::HttpStatus;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Status, Streaming};
use wire::external_processor_server::{ExternalProcessor, ExternalProcessorServer};
use wire::processing_request::Request as RequestMessage;
use wire::processing_response::Response as ResponseMessage;

/// Returns a socket on a free local port.
pub(super) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// What a fake picker does with each request.
#[derive(Clone, Copy)]
pub(super) enum PickerBehavior {
    /// Routes to the address after the end of the body, and echoes everything.
    Route(SocketAddr),
    /// Routes, then closes the stream after the request.
    CloseAfterRequest(SocketAddr),
    /// Routes, then fails when it receives the response headers.
    FailAtResponseHeaders(SocketAddr),
    /// Routes, then fails when it receives a part of the response body.
    FailAtResponseBody(SocketAddr),
    /// Fails when it receives a part of the request body.
    FailAtRequestBody,
    /// Rejects the request with an immediate response.
    Reject,
}

/// What a fake picker observes.
#[derive(Debug)]
pub(super) enum PickerEvent {
    /// The headers of a request.
    Headers(Vec<(String, Bytes)>),
    /// A stream ended after its last message.
    Complete,
    /// The gateway ended a stream early.
    Aborted,
}

struct Picker {
    behavior: PickerBehavior,
    events: mpsc::UnboundedSender<PickerEvent>,
}

/// Starts a picker. Its events arrive at the receiver.
pub(super) async fn picker(behavior: PickerBehavior) -> (SocketAddr, mpsc::UnboundedReceiver<PickerEvent>) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (events, receiver) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(ExternalProcessorServer::new(Picker { behavior, events }))
        .serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    (address, receiver)
}

type Replies = mpsc::Sender<Result<wire::ProcessingResponse, Status>>;

#[tonic::async_trait]
impl ExternalProcessor for Picker {
    type ProcessStream = Pin<Box<dyn Stream<Item = Result<wire::ProcessingResponse, Status>> + Send>>;

    async fn process(
        &self,
        request: tonic::Request<Streaming<wire::ProcessingRequest>>,
    ) -> Result<tonic::Response<Self::ProcessStream>, Status> {
        let (replies, mut receiver) = mpsc::channel(16);
        let (behavior, events) = (self.behavior, self.events.clone());
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            let ended = serve(behavior, &mut messages, &replies, &events).await;
            let _ = events.send(ended.unwrap_or(PickerEvent::Complete));
        });
        // Like gRPC in Go: even the response headers are sent only with the first message.
        let first = stream::iter(receiver.recv().await);
        Ok(tonic::Response::new(Box::pin(first.chain(ReceiverStream::new(receiver)))))
    }
}

/// Serves a stream until either side ends it.
async fn serve(
    behavior: PickerBehavior,
    messages: &mut Streaming<wire::ProcessingRequest>,
    replies: &Replies,
    events: &mpsc::UnboundedSender<PickerEvent>,
) -> Option<PickerEvent> {
    let mut body = Vec::new();
    let mut complete = false;
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) if complete => return Some(PickerEvent::Complete),
            Ok(None) | Err(_) => return Some(PickerEvent::Aborted),
        };
        match (message.request?, behavior) {
            (RequestMessage::RequestHeaders(headers), _) => {
                let is_last = headers.end_of_stream;
                let pairs = headers.headers?.headers.into_iter().map(|header| (header.key, header.raw_value));
                let _ = events.send(PickerEvent::Headers(pairs.collect()));
                if is_last {
                    decide(behavior, &[], replies).await?;
                }
            }
            (RequestMessage::RequestBody(_), PickerBehavior::FailAtRequestBody) => {
                return fail(replies).await;
            }
            (RequestMessage::RequestBody(part), _) => {
                body.extend_from_slice(&part.body);
                if part.end_of_stream {
                    decide(behavior, &body, replies).await?;
                }
            }
            (RequestMessage::ResponseHeaders(_), PickerBehavior::FailAtResponseHeaders(_)) => {
                return fail(replies).await;
            }
            (RequestMessage::ResponseHeaders(headers), _) => {
                complete = headers.end_of_stream;
                let set = header_mutation(&[("x-seen-by", "picker")]);
                reply(replies, ResponseMessage::ResponseHeaders(headers_response(set))).await?;
            }
            (RequestMessage::ResponseBody(_), PickerBehavior::FailAtResponseBody(_)) => {
                return fail(replies).await;
            }
            (RequestMessage::ResponseBody(part), _) => {
                complete = part.end_of_stream;
                let echo = echo(part.body, part.end_of_stream);
                reply(replies, ResponseMessage::ResponseBody(echo)).await?;
            }
            _ => {}
        }
    }
}

/// Sends the decision and the echo of the request body. Returns `None` if the picker then closes the stream.
async fn decide(behavior: PickerBehavior, body: &[u8], replies: &Replies) -> Option<()> {
    let (endpoint, closes) = match behavior {
        PickerBehavior::Route(endpoint)
        | PickerBehavior::FailAtResponseHeaders(endpoint)
        | PickerBehavior::FailAtResponseBody(endpoint) => (endpoint, false),
        PickerBehavior::CloseAfterRequest(endpoint) => (endpoint, true),
        PickerBehavior::Reject | PickerBehavior::FailAtRequestBody => {
            let rejection = wire::ImmediateResponse {
                status: Some(HttpStatus { code: 429 }),
                headers: Some(header_mutation(&[("x-llm-d-request-dropped-reason", "rejected-saturated")])),
                body: Bytes::from_static(b"inference error: ResourceExhausted - full"),
            };
            reply(replies, ResponseMessage::ImmediateResponse(rejection)).await?;
            return None;
        }
    };
    let set =
        header_mutation(&[("x-gateway-destination-endpoint", &endpoint.to_string()), ("x-added", "yes")]);
    reply(replies, ResponseMessage::RequestHeaders(headers_response(set))).await?;
    let mut parts = body.chunks(62_000).peekable();
    while let Some(part) = parts.next() {
        let echo = echo(Bytes::copy_from_slice(part), parts.peek().is_none());
        reply(replies, ResponseMessage::RequestBody(echo)).await?;
    }
    (!closes).then_some(())
}

async fn fail(replies: &Replies) -> Option<PickerEvent> {
    let _ = replies.send(Err(Status::internal("injected failure"))).await;
    None
}

async fn reply(replies: &Replies, message: ResponseMessage) -> Option<()> {
    let response = wire::ProcessingResponse { response: Some(message), ..Default::default() };
    replies.send(Ok(response)).await.ok()
}

fn header_mutation(set: &[(&str, &str)]) -> wire::HeaderMutation {
    let option = |(key, value): &(&str, &str)| HeaderValueOption {
        header: Some(HeaderValue {
            key: (*key).to_owned(),
            raw_value: Bytes::from((*value).to_owned()),
            ..HeaderValue::default()
        }),
    };
    wire::HeaderMutation {
        set_headers: set.iter().map(option).collect(),
        remove_headers: vec!["x-removed".into()],
    }
}

fn headers_response(mutation: wire::HeaderMutation) -> wire::HeadersResponse {
    let common = wire::CommonResponse { header_mutation: Some(mutation), ..Default::default() };
    wire::HeadersResponse { response: Some(common) }
}

fn echo(body: Bytes, end_of_stream: bool) -> wire::BodyResponse {
    let part = wire::StreamedBodyResponse { body, end_of_stream };
    let mutation =
        wire::BodyMutation { mutation: Some(wire::body_mutation::Mutation::StreamedResponse(part)) };
    let common = wire::CommonResponse { body_mutation: Some(mutation), ..Default::default() };
    wire::BodyResponse { response: Some(common) }
}

/// A request that a fake model server received.
pub(super) struct ReceivedRequest {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What a fake model server answers.
#[derive(Clone)]
pub(super) enum ServerResponse {
    /// The request body.
    Echo,
    /// Chunks that the test sends, for one request only.
    Chunks(Arc<Mutex<Option<mpsc::Receiver<Bytes>>>>),
}

/// Starts a model server. The requests that it receives arrive at the receiver.
pub(super) async fn model_server(
    response: ServerResponse,
) -> (SocketAddr, mpsc::UnboundedReceiver<ReceivedRequest>) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (requests, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (requests, response) = (requests.clone(), response.clone());
            let service = service_fn(move |request| respond(request, response.clone(), requests.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (address, receiver)
}

async fn respond(
    request: Request<Incoming>,
    response: ServerResponse,
    requests: mpsc::UnboundedSender<ReceivedRequest>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let _ = requests.send(ReceivedRequest { headers: head.headers, body: body.clone() });
    let body = match response {
        ServerResponse::Echo => Full::new(body).boxed_unsync(),
        ServerResponse::Chunks(chunks) => {
            let chunks = chunks.lock().unwrap().take().expect("one request only");
            let frames = ReceiverStream::new(chunks).map(|bytes| Ok(Frame::data(bytes)));
            StreamBody::new(frames).boxed_unsync()
        }
    };
    Ok(Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
}
