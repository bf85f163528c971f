//! The two ends a gateway stands between, for its tests: a picker and a model server that do as they are told.

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
use wire::processing_request::Request as Asked;
use wire::processing_response::Response as Answered;

/// A socket on any free port of this machine.
pub(super) async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// What a fake picker does with every request.
#[derive(Clone, Copy)]
pub(super) enum Manner {
    /// Routes to the address, silent until the end of the body, and echoes everything.
    Route(SocketAddr),
    /// Routes and closes the stream after the request phase.
    RouteAndClose(SocketAddr),
    /// Routes and fails as soon as it sees the response's headers.
    RouteAndFail(SocketAddr),
    /// Routes, and fails when it has been sent a part of the response's body.
    RouteAndSwallow(SocketAddr),
    /// Fails when it has a part of the request's body.
    Swallow,
    /// Answers the client itself.
    Refuse,
}

/// What a fake picker has seen.
#[derive(Debug)]
pub(super) enum Seen {
    /// A header of a request, with its value.
    Headers(Vec<(String, Bytes)>),
    /// A stream ended after the last message that was due on it.
    Complete,
    /// The gateway ended a stream before that.
    Aborted,
}

struct Picker {
    manner: Manner,
    seen: mpsc::UnboundedSender<Seen>,
}

/// Starts a picker; what it sees comes out of the receiver.
pub(super) async fn picker(manner: Manner) -> (SocketAddr, mpsc::UnboundedReceiver<Seen>) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (seen, receiver) = mpsc::unbounded_channel();
    let server = tonic::transport::Server::builder()
        .add_service(ExternalProcessorServer::new(Picker { manner, seen }))
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
        let (manner, seen) = (self.manner, self.seen.clone());
        let mut messages = request.into_inner();
        tokio::spawn(async move {
            let ended = converse(manner, &mut messages, &replies, &seen).await;
            let _ = seen.send(ended.unwrap_or(Seen::Complete));
        });
        // As gRPC in Go does: not even the headers of the answer come before its first message.
        let first = stream::iter(receiver.recv().await);
        Ok(tonic::Response::new(Box::pin(first.chain(ReceiverStream::new(receiver)))))
    }
}

/// Answers until the stream ends from either side.
async fn converse(
    manner: Manner,
    messages: &mut Streaming<wire::ProcessingRequest>,
    replies: &Replies,
    seen: &mpsc::UnboundedSender<Seen>,
) -> Option<Seen> {
    let mut body = Vec::new();
    let mut complete = false;
    loop {
        let message = match messages.message().await {
            Ok(Some(message)) => message,
            Ok(None) | Err(_) if complete => return Some(Seen::Complete),
            Ok(None) | Err(_) => return Some(Seen::Aborted),
        };
        match (message.request?, manner) {
            (Asked::RequestHeaders(headers), _) => {
                let ends = headers.end_of_stream;
                let pairs = headers.headers?.headers.into_iter().map(|header| (header.key, header.raw_value));
                let _ = seen.send(Seen::Headers(pairs.collect()));
                if ends {
                    decide(manner, &[], replies).await?;
                }
            }
            (Asked::RequestBody(_), Manner::Swallow) => return fail(replies).await,
            (Asked::RequestBody(part), _) => {
                body.extend_from_slice(&part.body);
                if part.end_of_stream {
                    decide(manner, &body, replies).await?;
                }
            }
            (Asked::ResponseHeaders(_), Manner::RouteAndFail(_)) => return fail(replies).await,
            (Asked::ResponseHeaders(headers), _) => {
                complete = headers.end_of_stream;
                let set = changes(&[("x-seen-by", "picker")]);
                reply(replies, Answered::ResponseHeaders(headers_answer(set))).await?;
            }
            (Asked::ResponseBody(_), Manner::RouteAndSwallow(_)) => return fail(replies).await,
            (Asked::ResponseBody(part), _) => {
                complete = part.end_of_stream;
                let echo = echo(part.body, part.end_of_stream);
                reply(replies, Answered::ResponseBody(echo)).await?;
            }
            _ => {}
        }
    }
}

/// The request phase's answer; none where the picker closes the stream after it.
async fn decide(manner: Manner, body: &[u8], replies: &Replies) -> Option<()> {
    let (endpoint, closes) = match manner {
        Manner::Route(endpoint) | Manner::RouteAndFail(endpoint) | Manner::RouteAndSwallow(endpoint) => {
            (endpoint, false)
        }
        Manner::RouteAndClose(endpoint) => (endpoint, true),
        Manner::Refuse | Manner::Swallow => {
            let refusal = wire::ImmediateResponse {
                status: Some(HttpStatus { code: 429 }),
                headers: Some(changes(&[("x-llm-d-request-dropped-reason", "rejected-saturated")])),
                body: Bytes::from_static(b"inference error: ResourceExhausted - full"),
            };
            reply(replies, Answered::ImmediateResponse(refusal)).await?;
            return None;
        }
    };
    let set = changes(&[("x-gateway-destination-endpoint", &endpoint.to_string()), ("x-added", "yes")]);
    reply(replies, Answered::RequestHeaders(headers_answer(set))).await?;
    let mut parts = body.chunks(62_000).peekable();
    while let Some(part) = parts.next() {
        let echo = echo(Bytes::copy_from_slice(part), parts.peek().is_none());
        reply(replies, Answered::RequestBody(echo)).await?;
    }
    (!closes).then_some(())
}

async fn fail(replies: &Replies) -> Option<Seen> {
    let _ = replies.send(Err(Status::internal("told to fail"))).await;
    None
}

async fn reply(replies: &Replies, answered: Answered) -> Option<()> {
    let response = wire::ProcessingResponse { response: Some(answered), ..Default::default() };
    replies.send(Ok(response)).await.ok()
}

fn changes(set: &[(&str, &str)]) -> wire::HeaderMutation {
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

fn headers_answer(mutation: wire::HeaderMutation) -> wire::HeadersResponse {
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

/// A request as a fake model server got it.
pub(super) struct Got {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// What a fake model server answers.
#[derive(Clone)]
pub(super) enum Answer {
    /// The request's body.
    Echo,
    /// The pieces that a test sends, as they come; for one request.
    Pieces(Arc<Mutex<Option<mpsc::Receiver<Bytes>>>>),
}

/// Starts a model server; what it is sent comes out of the receiver.
pub(super) async fn model_server(answer: Answer) -> (SocketAddr, mpsc::UnboundedReceiver<Got>) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let (got, receiver) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (got, answer) = (got.clone(), answer.clone());
            let service = service_fn(move |request| respond(request, answer.clone(), got.clone()));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    (address, receiver)
}

async fn respond(
    request: Request<Incoming>,
    answer: Answer,
    got: mpsc::UnboundedSender<Got>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let _ = got.send(Got { headers: head.headers, body: body.clone() });
    let body = match answer {
        Answer::Echo => Full::new(body).boxed_unsync(),
        Answer::Pieces(pieces) => {
            let pieces = pieces.lock().unwrap().take().expect("one request only");
            let frames = ReceiverStream::new(pieces).map(|bytes| Ok(Frame::data(bytes)));
            StreamBody::new(frames).boxed_unsync()
        }
    };
    Ok(Response::builder().header("content-type", "text/event-stream").body(body).unwrap())
}
