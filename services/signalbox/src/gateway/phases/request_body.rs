//! The second phase of a request: forwards the body that the picker echoes to the endpoint, until the
//! endpoint answers.

use std::future::pending;

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::gateway::body::{BodyReader, Chunk};
use crate::gateway::error::GatewayError;
use crate::gateway::ext_proc::messages::{self, Reply};
use crate::gateway::ext_proc::stream::{ExtProcStream, StreamEnd};

/// How the phase ended.
pub(crate) enum Forwarded {
    /// The endpoint answered. The stream is `None` if the picker closed it.
    Response(Response<Incoming>, Option<ExtProcStream>),
    /// The picker withdrew the request and answers the client itself.
    Immediate(Response<Bytes>),
}

/// Moves the request body from the client through the picker to the endpoint.
pub(crate) struct RequestForwarder {
    stream: Option<ExtProcStream>,
    client_body: BodyReader,
    upstream_body: mpsc::Sender<Chunk>,
    /// Chunk that the picker echoed and the endpoint has not taken yet. Nothing more is read from the picker
    /// until then.
    pending: Option<Chunk>,
    echo: Echo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    InProgress,
    Complete,
}

enum Step {
    Continue,
    Immediate(Response<Bytes>),
}

impl RequestForwarder {
    /// Creates a forwarder that moves the rest of `client_body` through the picker into `upstream_body`.
    pub(crate) fn new(
        stream: ExtProcStream,
        client_body: BodyReader,
        upstream_body: mpsc::Sender<Chunk>,
    ) -> Self {
        let echo = if client_body.is_empty() { Echo::Complete } else { Echo::InProgress };
        Self { stream: Some(stream), client_body, upstream_body, pending: None, echo }
    }

    /// Runs until the endpoint has answered, and has either received the whole body or rejected the rest of
    /// it.
    ///
    /// # Errors
    /// When the endpoint fails, the body from the client cannot be read, or the picker fails while it has a
    /// part of the body.
    pub(crate) async fn run(
        mut self,
        response: impl Future<Output = Result<Response<Incoming>, GatewayError>>,
    ) -> Result<Forwarded, GatewayError> {
        let mut response = std::pin::pin!(response);
        let mut head = None;
        loop {
            if self.is_complete()
                && let Some(head) = head
            {
                return Ok(Forwarded::Response(head, self.stream));
            }
            tokio::select! {
                biased;
                answer = &mut response, if head.is_none() => head = Some(answer?),
                step = self.step() => if let Step::Immediate(response) = step? {
                    if let Some(stream) = self.stream {
                        stream.finish();
                    }
                    return Ok(Forwarded::Immediate(response));
                },
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.echo == Echo::Complete && self.pending.is_none()
    }

    /// Moves one chunk one step. Never completes if there is nothing to move.
    async fn step(&mut self) -> Result<Step, GatewayError> {
        let Some(stream) = &mut self.stream else { return pending().await };
        let reply = tokio::select! {
            biased;
            permit = self.upstream_body.reserve(), if self.pending.is_some() => {
                // When the channel is closed, the endpoint reads no more of the body. The rest is dropped.
                if let (Some(chunk), Ok(permit)) = (self.pending.take(), permit) {
                    permit.send(chunk);
                }
                return Ok(Step::Continue);
            }
            reply = stream.receiver.next(), if self.pending.is_none() => reply,
            forwarded = stream.sender.forward_chunk(&mut self.client_body, messages::request_body),
                if !self.client_body.has_ended() =>
            {
                forwarded.map_err(GatewayError::ClientBody)?;
                return Ok(Step::Continue);
            }
        };
        self.apply(reply)
    }

    fn apply(&mut self, reply: Result<Reply, StreamEnd>) -> Result<Step, GatewayError> {
        match reply {
            Ok(Reply::RequestBody(chunk)) if self.echo == Echo::InProgress => {
                if chunk.is_last {
                    self.echo = Echo::Complete;
                }
                self.pending = Some(chunk);
            }
            Ok(Reply::Immediate(response)) => return Ok(Step::Immediate(response)),
            Ok(_) => {}
            // The picker holds no part of the body, so the request continues without it.
            Err(_) if self.echo == Echo::Complete => self.stream = None,
            Err(end) => return Err(GatewayError::PickerLost { reason: end.to_string() }),
        }
        Ok(Step::Continue)
    }
}
