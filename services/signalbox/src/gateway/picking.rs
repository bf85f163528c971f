//! The first phase of a request: a picker sees it and says where it goes.

use bytes::Bytes;
use http::uri::Authority;
use http::{Response, request};

use super::chunks::Chunks;
use super::conversation::{Conversation, Ending};
use super::headers::{Mutation, destination};
use super::message::{self, Reply};
use super::refusal::Refusal;
use super::replicas::Replicas;

/// What a picker decided.
pub(super) enum Verdict {
    /// The request goes to an endpoint; the conversation about it goes on.
    Routed { conversation: Conversation, mutation: Mutation, endpoint: Authority },
    /// The picker answers the client itself.
    Answered(Response<Bytes>),
}

/// Asks the pickers in turn until one decides. The body goes to one picker only: once a part of it was sent,
/// there is no other to turn to.
///
/// # Errors
/// When no picker decides, or the client's body breaks.
pub(super) async fn pick(
    replicas: &Replicas,
    head: &request::Parts,
    body: &mut Chunks,
) -> Result<Verdict, Refusal> {
    let opening = message::request_headers(head, body.is_absent());
    let mut tried = "none: none is configured".to_owned();
    for index in replicas.in_turn() {
        let mut conversation = replicas.open(index, opening.clone());
        let reason = match converse(&mut conversation, body).await? {
            Said::Headers { mutation, metadata } => {
                replicas.answered(index);
                let endpoint = destination(&mutation, metadata.as_deref()).ok_or(Refusal::NoDestination)?;
                return Ok(Verdict::Routed { conversation, mutation, endpoint });
            }
            Said::Immediate(response) => {
                replicas.answered(index);
                conversation.finish();
                return Ok(Verdict::Answered(response));
            }
            Said::Goodbye(ending) => format!("{}: {ending}", replicas.address(index)),
        };
        replicas.failed(index);
        tracing::warn!(picker = %replicas.address(index), %reason, "an endpoint picker did not decide");
        if body.is_consumed() {
            return Err(Refusal::PickerLost { reason });
        }
        tried = reason;
    }
    Err(Refusal::NoPicker { tried })
}

enum Said {
    Headers { mutation: Mutation, metadata: Option<String> },
    Immediate(Response<Bytes>),
    Goodbye(Ending),
}

/// Streams the client's body to the picker until it says something that decides.
async fn converse(conversation: &mut Conversation, body: &mut Chunks) -> Result<Said, Refusal> {
    let Conversation { outbox, inbox } = conversation;
    loop {
        tokio::select! {
            biased;
            reply = inbox.next() => match reply {
                Ok(Reply::RequestHeaders { mutation, destination }) => {
                    return Ok(Said::Headers { mutation, metadata: destination });
                }
                Ok(Reply::Immediate(response)) => return Ok(Said::Immediate(response)),
                Ok(_) => {}
                Err(ending) => return Ok(Said::Goodbye(ending)),
            },
            forwarded = outbox.forward(body, message::request_body), if !body.has_ended() => {
                forwarded.map_err(Refusal::ClientBody)?;
            }
        }
    }
}
