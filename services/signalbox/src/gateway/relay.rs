//! The last phase of a request: the endpoint's response goes through the picker to the client.

use std::mem;

use bytes::Bytes;
use futures_util::stream;
use http::{Response, response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};

use super::chunks::Chunks;
use super::conversation::{Conversation, Ending};
use super::headers::{Length, Mutation, toward_client};
use super::message::{self, Reply};

/// The body of a response to a client.
pub(super) type Outgoing = UnsyncBoxBody<Bytes, Interrupted>;

/// Why a response stops in the middle; the connection to the client is closed, so that it notices.
#[derive(Debug, thiserror::Error)]
pub(super) enum Interrupted {
    /// The endpoint broke off.
    #[error("the endpoint broke off: {0}")]
    Endpoint(#[source] hyper::Error),
    /// The picker was lost with a part of the body.
    #[error("the endpoint picker was lost with a part of the response: {0}")]
    Picker(Ending),
    /// The picker wanted another response when the first was already on its way.
    #[error("the endpoint picker withdrew the response")]
    Withdrawn,
}

/// A response whose body is at hand.
pub(super) fn whole(response: Response<Bytes>) -> Response<Outgoing> {
    response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
}

/// Passes a response on through the picker, or without it if there is none any more.
pub(super) async fn relay(
    response: Response<Incoming>,
    conversation: Option<Conversation>,
) -> Response<Outgoing> {
    let (mut head, body) = response.into_parts();
    let body = Chunks::new(body);
    let announced = match conversation {
        Some(conversation) => announce(conversation, &head, body.is_absent()).await,
        None => Announced::Alone,
    };
    match announced {
        Announced::Replaced(response) => whole(response),
        Announced::Alone => {
            toward_client(&mut head, &Mutation::default(), Length::AsSaid);
            Response::from_parts(head, streamed(body, Course::Alone))
        }
        Announced::Changed(mutation, conversation) if body.is_absent() => {
            conversation.finish();
            toward_client(&mut head, &mutation, Length::AsSaid);
            Response::from_parts(head, streamed(body, Course::Over))
        }
        Announced::Changed(mutation, conversation) => {
            toward_client(&mut head, &mutation, Length::Unknown);
            Response::from_parts(head, streamed(body, Course::Through(conversation)))
        }
    }
}

enum Announced {
    Changed(Mutation, Conversation),
    Replaced(Response<Bytes>),
    /// The picker is gone. It had no part of the body, so the response goes on without it.
    Alone,
}

/// Tells the picker the head of the response and hears what it wants changed.
async fn announce(mut conversation: Conversation, head: &response::Parts, ends: bool) -> Announced {
    let mut announcement = Some(message::response_headers(head, ends));
    loop {
        let reply = tokio::select! {
            biased;
            reply = conversation.inbox.next() => reply,
            place = conversation.outbox.place(), if announcement.is_some() => {
                if let Some(announcement) = announcement.take() {
                    place.send(announcement);
                }
                continue;
            }
        };
        match reply {
            Ok(Reply::ResponseHeaders(mutation)) => return Announced::Changed(mutation, conversation),
            Ok(Reply::Immediate(response)) => {
                conversation.finish();
                return Announced::Replaced(response);
            }
            Ok(_) => {}
            Err(ending) => {
                tracing::debug!(%ending, "a response goes on without the endpoint picker");
                return Announced::Alone;
            }
        }
    }
}

fn streamed(body: Chunks, course: Course) -> Outgoing {
    if body.is_absent() {
        return Empty::new().map_err(|never| match never {}).boxed_unsync();
    }
    let relay = Relay { body, course, in_flight_bytes: 0 };
    let frames = stream::unfold(relay, async |mut relay| {
        let next = relay.next().await.transpose()?;
        Some((next.map(Frame::data), relay))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// A response body on its way. It moves only as the client takes it.
struct Relay {
    body: Chunks,
    course: Course,
    /// What the picker has been sent and has not echoed yet.
    in_flight_bytes: usize,
}

/// Which way the rest of a body takes.
enum Course {
    /// To the picker, and its echo to the client.
    Through(Conversation),
    /// Straight to the client.
    Alone,
    /// There is no rest.
    Over,
}

impl Relay {
    /// The next bytes for the client, never empty, or none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Interrupted> {
        loop {
            let bytes = match &mut self.course {
                Course::Over => return Ok(None),
                Course::Alone if self.body.has_ended() => return Ok(None),
                Course::Alone => self.body.next().await.map_err(Interrupted::Endpoint)?.bytes,
                Course::Through(Conversation { outbox, inbox }) => tokio::select! {
                    biased;
                    reply = inbox.next() => self.take(reply)?,
                    forwarded = outbox.forward(&mut self.body, message::response_body),
                        if !self.body.has_ended() =>
                    {
                        self.in_flight_bytes += forwarded.map_err(Interrupted::Endpoint)?;
                        continue;
                    }
                },
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// What a reply has for the client.
    fn take(&mut self, reply: Result<Reply, Ending>) -> Result<Bytes, Interrupted> {
        match reply {
            Ok(Reply::ResponseBody(piece)) => {
                self.in_flight_bytes = self.in_flight_bytes.saturating_sub(piece.bytes.len());
                if piece.ends
                    && let Course::Through(conversation) = mem::replace(&mut self.course, Course::Over)
                {
                    conversation.finish();
                }
                Ok(piece.bytes)
            }
            Ok(Reply::Immediate(_)) => Err(Interrupted::Withdrawn),
            Ok(_) => Ok(Bytes::new()),
            Err(ending) if self.in_flight_bytes == 0 => {
                tracing::debug!(%ending, "the rest of a response goes on without the endpoint picker");
                self.course = Course::Alone;
                Ok(Bytes::new())
            }
            Err(ending) => Err(Interrupted::Picker(ending)),
        }
    }
}
