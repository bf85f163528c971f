//! The first phase of a request: a picker decides where it goes.

use bytes::Bytes;
use http::uri::Authority;
use http::{Response, request};

use crate::gateway::body::BodyReader;
use crate::gateway::error::GatewayError;
use crate::gateway::ext_proc::messages::{self, Reply};
use crate::gateway::ext_proc::pickers::Pickers;
use crate::gateway::ext_proc::stream::{ExtProcStream, StreamEnd};
use crate::gateway::headers::{Mutation, destination};

/// What a picker decided.
pub(crate) enum RoutingDecision {
    /// Send the request to an endpoint. The stream stays open.
    Route { stream: ExtProcStream, mutation: Mutation, endpoint: Authority },
    /// Send this response of the picker to the client.
    Respond(Response<Bytes>),
}

/// Tries the pickers one after the other until one decides. No other picker is tried after a part of the body
/// was sent, because the body cannot be read twice.
///
/// # Errors
/// When no picker decides, or the body from the client cannot be read.
pub(crate) async fn route(
    pickers: &Pickers,
    head: &request::Parts,
    body: &mut BodyReader,
) -> Result<RoutingDecision, GatewayError> {
    let opening = messages::request_headers(head, body.is_empty());
    let mut last_attempt = "no picker is configured".to_owned();
    for index in pickers.next_order() {
        let mut stream = pickers.open(index, opening.clone());
        let reason = match first_reply(&mut stream, body).await? {
            FirstReply::Headers { mutation, metadata } => {
                pickers.record_success(index);
                let endpoint =
                    destination(&mutation, metadata.as_deref()).ok_or(GatewayError::NoDestination)?;
                return Ok(RoutingDecision::Route { stream, mutation, endpoint });
            }
            FirstReply::Immediate(response) => {
                pickers.record_success(index);
                stream.finish();
                return Ok(RoutingDecision::Respond(response));
            }
            FirstReply::StreamEnd(end) => format!("{}: {end}", pickers.address(index)),
        };
        pickers.record_failure(index);
        tracing::warn!(picker = %pickers.address(index), %reason, "endpoint picker made no decision");
        if body.is_started() {
            return Err(GatewayError::PickerLost { reason });
        }
        last_attempt = reason;
    }
    Err(GatewayError::NoPicker { last_attempt })
}

/// The first reply of a picker that ends the routing phase.
enum FirstReply {
    Headers { mutation: Mutation, metadata: Option<String> },
    Immediate(Response<Bytes>),
    StreamEnd(StreamEnd),
}

/// Streams the request body to the picker until it decides.
async fn first_reply(stream: &mut ExtProcStream, body: &mut BodyReader) -> Result<FirstReply, GatewayError> {
    let ExtProcStream { sender, receiver } = stream;
    loop {
        tokio::select! {
            biased;
            reply = receiver.next() => match reply {
                Ok(Reply::RequestHeaders { mutation, destination }) => {
                    return Ok(FirstReply::Headers { mutation, metadata: destination });
                }
                Ok(Reply::Immediate(response)) => return Ok(FirstReply::Immediate(response)),
                Ok(_) => {}
                Err(end) => return Ok(FirstReply::StreamEnd(end)),
            },
            forwarded = sender.forward_chunk(body, messages::request_body), if !body.has_ended() => {
                forwarded.map_err(GatewayError::ClientBody)?;
            }
        }
    }
}
