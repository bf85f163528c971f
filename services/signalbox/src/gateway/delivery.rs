//! The second phase of a request: the body as the picker echoes it goes to the endpoint, until that answers.

use std::future::pending;

use bytes::Bytes;
use http::Response;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::chunks::{Chunks, Piece};
use super::conversation::{Conversation, Ending};
use super::message::{self, Reply};
use super::refusal::Refusal;

/// How a delivery ended.
pub(super) enum Delivered {
    /// The endpoint answered. The conversation is gone if the picker closed it meanwhile.
    Response(Response<Incoming>, Option<Conversation>),
    /// The picker took the request back and answers the client itself.
    Recalled(Response<Bytes>),
}

/// The request on its way.
pub(super) struct Delivery {
    conversation: Option<Conversation>,
    client: Chunks,
    feed: mpsc::Sender<Piece>,
    /// Echoed by the picker, not yet taken by the endpoint. No more is read from the picker meanwhile.
    waiting: Option<Piece>,
    echo: Echo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    Running,
    Complete,
}

enum Step {
    Moved,
    Recalled(Response<Bytes>),
}

impl Delivery {
    /// A delivery that moves what is left of `client` through the picker into `feed`.
    pub(super) fn new(conversation: Conversation, client: Chunks, feed: mpsc::Sender<Piece>) -> Self {
        let echo = if client.is_absent() { Echo::Complete } else { Echo::Running };
        Self { conversation: Some(conversation), client, feed, waiting: None, echo }
    }

    /// Runs until the endpoint has answered and has the whole body, or has refused the rest of it.
    ///
    /// # Errors
    /// When the endpoint fails, the client's body breaks, or the picker is lost with a part of the body.
    pub(super) async fn run(
        mut self,
        response: impl Future<Output = Result<Response<Incoming>, Refusal>>,
    ) -> Result<Delivered, Refusal> {
        let mut response = std::pin::pin!(response);
        let mut head = None;
        loop {
            if self.is_complete()
                && let Some(head) = head
            {
                return Ok(Delivered::Response(head, self.conversation));
            }
            tokio::select! {
                biased;
                answer = &mut response, if head.is_none() => head = Some(answer?),
                step = self.step() => if let Step::Recalled(response) = step? {
                    if let Some(conversation) = self.conversation {
                        conversation.finish();
                    }
                    return Ok(Delivered::Recalled(response));
                },
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.echo == Echo::Complete && self.waiting.is_none()
    }

    /// Moves one piece one step, or waits for ever if there is nothing to move.
    async fn step(&mut self) -> Result<Step, Refusal> {
        let Some(conversation) = &mut self.conversation else { return pending().await };
        let reply = tokio::select! {
            biased;
            place = self.feed.reserve(), if self.waiting.is_some() => {
                // A feed that is closed: the endpoint wants no more of the body, so the rest is dropped.
                if let (Some(piece), Ok(place)) = (self.waiting.take(), place) {
                    place.send(piece);
                }
                return Ok(Step::Moved);
            }
            reply = conversation.inbox.next(), if self.waiting.is_none() => reply,
            forwarded = conversation.outbox.forward(&mut self.client, message::request_body),
                if !self.client.has_ended() =>
            {
                forwarded.map_err(Refusal::ClientBody)?;
                return Ok(Step::Moved);
            }
        };
        self.take(reply)
    }

    fn take(&mut self, reply: Result<Reply, Ending>) -> Result<Step, Refusal> {
        match reply {
            Ok(Reply::RequestBody(piece)) if self.echo == Echo::Running => {
                if piece.ends {
                    self.echo = Echo::Complete;
                }
                self.waiting = Some(piece);
            }
            Ok(Reply::Immediate(response)) => return Ok(Step::Recalled(response)),
            Ok(_) => {}
            // It has nothing of this request, so the rest goes on without it.
            Err(_) if self.echo == Echo::Complete => self.conversation = None,
            Err(ending) => return Err(Refusal::PickerLost { reason: ending.to_string() }),
        }
        Ok(Step::Moved)
    }
}
