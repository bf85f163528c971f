//! The last phase of a request: relays the endpoint's response through the picker to the client.

use std::mem;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use crate::gateway::body::BodyReader;
use crate::gateway::ext_proc::messages::{self, Reply};
use crate::gateway::ext_proc::stream::{ExtProcStream, StreamEnd};
use crate::gateway::headers::{ContentLength, Mutation, convert_for_client};

/// The body of a response to a client.
pub(crate) type ClientBody = UnsyncBoxBody<Bytes, ResponseError>;

/// Why a response was aborted. The connection to the client is closed, so that the client notices.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResponseError {
    /// The endpoint closed the connection early.
    #[error("the endpoint closed the connection: {0}")]
    Endpoint(#[source] hyper::Error),
    /// The picker failed while it had a part of the body.
    #[error("the endpoint picker failed while it had a part of the response: {0}")]
    Picker(StreamEnd),
    /// The picker sent another response after the first had already started.
    #[error("the endpoint picker withdrew a response that had already started")]
    Withdrawn,
}

/// Converts a response whose body is complete.
pub(crate) fn complete_response(response: Response<Bytes>) -> Response<ClientBody> {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// Relays a response through the picker, or directly if the stream is gone.
pub(crate) async fn relay_response(
    response: Response<Incoming>,
    stream: Option<ExtProcStream>,
) -> Response<ClientBody> {
    let (mut head, body) = response.into_parts();
    let body = BodyReader::new(body);
    let outcome = match stream {
        Some(stream) => exchange_headers(stream, &head, body.is_empty()).await,
        None => HeadersOutcome::PickerGone,
    };
    match outcome {
        HeadersOutcome::Replaced(response) => complete_response(response),
        HeadersOutcome::PickerGone => {
            convert_for_client(&mut head, &Mutation::default(), ContentLength::Keep);
            Response::from_parts(head, stream_body(body, BodyPath::Direct))
        }
        HeadersOutcome::Continue(mutation, stream) if body.is_empty() => {
            stream.finish();
            convert_for_client(&mut head, &mutation, ContentLength::Keep);
            Response::from_parts(head, stream_body(body, BodyPath::Done))
        }
        HeadersOutcome::Continue(mutation, stream) => {
            convert_for_client(&mut head, &mutation, ContentLength::Remove);
            Response::from_parts(head, stream_body(body, BodyPath::ThroughPicker(stream)))
        }
    }
}

/// What the picker made of the response headers.
enum HeadersOutcome {
    Continue(Mutation, ExtProcStream),
    Replaced(Response<Bytes>),
    /// The picker is gone. It had no part of the body, so the response continues without it.
    PickerGone,
}

/// Sends the head of the response to the picker and waits for its changes.
async fn exchange_headers(
    mut stream: ExtProcStream,
    head: &response::Parts,
    is_last: bool,
) -> HeadersOutcome {
    let mut unsent = Some(messages::response_headers(head, is_last));
    loop {
        let reply = tokio::select! {
            biased;
            reply = stream.receiver.next() => reply,
            permit = stream.sender.reserve(), if unsent.is_some() => {
                if let Some(message) = unsent.take() {
                    permit.send(message);
                }
                continue;
            }
        };
        match reply {
            Ok(Reply::ResponseHeaders(mutation)) => return HeadersOutcome::Continue(mutation, stream),
            Ok(Reply::Immediate(response)) => {
                stream.finish();
                return HeadersOutcome::Replaced(response);
            }
            Ok(_) => {}
            Err(end) => {
                tracing::debug!(reason = %end, "endpoint picker is gone; relaying the response without it");
                return HeadersOutcome::PickerGone;
            }
        }
    }
}

fn stream_body(body: BodyReader, path: BodyPath) -> ClientBody {
    if body.is_empty() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    let relay = BodyRelay { body, path, in_flight_bytes: 0 };
    let frames = stream::unfold(relay, async |mut relay| {
        let next = relay.next().await.transpose()?;
        Some((next.map(Frame::data), relay))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Relays a response body. Reads only as fast as the client does.
struct BodyRelay {
    body: BodyReader,
    path: BodyPath,
    /// Bytes that the picker received and has not echoed yet.
    in_flight_bytes: usize,
}

/// The path of the rest of a body.
enum BodyPath {
    /// Through the picker: the client gets the echo.
    ThroughPicker(ExtProcStream),
    /// Directly to the client.
    Direct,
    /// The body is complete.
    Done,
}

impl BodyRelay {
    /// Returns the next bytes for the client, never empty, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, ResponseError> {
        loop {
            let bytes = match &mut self.path {
                BodyPath::Done => return Ok(None),
                BodyPath::Direct if self.body.has_ended() => return Ok(None),
                BodyPath::Direct => self.body.next().await.map_err(ResponseError::Endpoint)?.bytes,
                BodyPath::ThroughPicker(ExtProcStream { sender, receiver }) => tokio::select! {
                    biased;
                    reply = receiver.next() => self.apply(reply)?,
                    forwarded = sender.forward_chunk(&mut self.body, messages::response_body),
                        if !self.body.has_ended() =>
                    {
                        self.in_flight_bytes += forwarded.map_err(ResponseError::Endpoint)?;
                        continue;
                    }
                },
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// Applies a reply of the picker and returns the bytes that it has for the client.
    fn apply(&mut self, reply: Result<Reply, StreamEnd>) -> Result<Bytes, ResponseError> {
        match reply {
            Ok(Reply::ResponseBody(chunk)) => {
                self.in_flight_bytes = self.in_flight_bytes.saturating_sub(chunk.bytes.len());
                if chunk.is_last
                    && let BodyPath::ThroughPicker(stream) = mem::replace(&mut self.path, BodyPath::Done)
                {
                    stream.finish();
                }
                Ok(chunk.bytes)
            }
            Ok(Reply::Immediate(_)) => Err(ResponseError::Withdrawn),
            Ok(_) => Ok(Bytes::new()),
            Err(end) if self.in_flight_bytes == 0 => {
                tracing::debug!(reason = %end, "endpoint picker is gone; relaying the rest of the response without it");
                self.path = BodyPath::Direct;
                Ok(Bytes::new())
            }
            Err(end) => Err(ResponseError::Picker(end)),
        }
    }
}
