//! Messages between a replica and the pool's owner: feedback one way, replies the other.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Feedback, GaugeScope, Placement, ResponseOutcome, ResponseReport};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, Origin};

use crate::error::WireError;
use crate::hello::Hello;
use crate::shared;

/// The owner's reply to feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedbackReply {
    /// Send the whole chain of this placement, because its anchor is unknown.
    NeedChain(u64),
    /// This origin has expired: continue with a new one. The owner replies so to each batch in flight; only
    /// the first reply counts.
    Expired(Origin),
}

/// Encodes a batch of feedback. The first batch of a stream carries `hello`.
pub fn encode_feedback(hello: Option<&Hello>, feedback: Feedback) -> pb::FeedbackBatch {
    let Feedback { epoch, origin, seq, scope, gauges, placements, adapters, responses } = feedback;
    let gauge = |(endpoint, load): (EndpointKey, _)| pb::InFlightGauge {
        endpoint: endpoint.0,
        load: Some(shared::encode_load(load)),
    };
    pb::FeedbackBatch {
        epoch,
        origin: origin.0,
        seq,
        all_gauges: scope == GaugeScope::All,
        gauges: gauges.into_iter().map(gauge).collect(),
        placements: placements.iter().map(encode_placement).collect(),
        adapters: adapters.into_iter().map(encode_adapter_use).collect(),
        responses: responses.into_iter().map(encode_response).collect(),
        hello: hello.map(Hello::message),
    }
}

/// Decodes a batch of feedback. Its hello is decoded by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when a gauge has no load or a placement contains the root as a block.
pub fn decode_feedback(message: pb::FeedbackBatch) -> Result<Feedback, WireError> {
    let pb::FeedbackBatch {
        epoch,
        origin,
        seq,
        all_gauges,
        gauges,
        placements,
        adapters,
        responses,
        hello: _,
    } = message;
    let gauge =
        |gauge: pb::InFlightGauge| Ok((EndpointKey(gauge.endpoint), shared::decode_load(gauge.load)?));
    Ok(Feedback {
        epoch,
        origin: Origin(origin),
        seq,
        scope: if all_gauges { GaugeScope::All } else { GaugeScope::Changed },
        gauges: gauges.into_iter().map(gauge).collect::<Result<_, WireError>>()?,
        placements: placements.into_iter().map(decode_placement).collect::<Result<_, _>>()?,
        adapters: adapters.into_iter().map(decode_adapter_use).collect(),
        responses: responses.into_iter().map(decode_response).collect(),
    })
}

/// Encodes the owner's reply.
pub fn encode_feedback_reply(epoch: u64, reply: FeedbackReply) -> pb::FeedbackReply {
    use pb::feedback_reply::Reply as Kind;
    let reply = match reply {
        FeedbackReply::NeedChain(number) => Kind::NeedChain(number),
        FeedbackReply::Expired(origin) => Kind::Expired(origin.0),
    };
    pb::FeedbackReply { epoch, reply: Some(reply) }
}

/// Decodes the owner's reply.
///
/// # Errors
/// [`WireError`] when this version does not know the kind of reply.
pub fn decode_feedback_reply(message: &pb::FeedbackReply) -> Result<FeedbackReply, WireError> {
    use pb::feedback_reply::Reply as Kind;
    match message.reply {
        Some(Kind::NeedChain(number)) => Ok(FeedbackReply::NeedChain(number)),
        Some(Kind::Expired(origin)) => Ok(FeedbackReply::Expired(Origin(origin))),
        None => Err(WireError::Missing("reply")),
    }
}

fn encode_adapter_use((endpoint, adapter): (EndpointKey, Arc<str>)) -> pb::AdapterUse {
    pb::AdapterUse { endpoint: endpoint.0, adapter: adapter.to_string() }
}

fn decode_adapter_use(message: pb::AdapterUse) -> (EndpointKey, Arc<str>) {
    let pb::AdapterUse { endpoint, adapter } = message;
    (EndpointKey(endpoint), adapter.into())
}

fn encode_response(response: ResponseReport) -> pb::ResponseReport {
    let first_output = match response.outcome {
        ResponseOutcome::Failed => None,
        ResponseOutcome::FirstOutput { work_tokens, elapsed_us } => {
            Some(pb::FirstOutput { work_tokens, elapsed_us })
        }
    };
    pb::ResponseReport { endpoint: response.endpoint.0, first_output }
}

fn decode_response(message: pb::ResponseReport) -> ResponseReport {
    let pb::ResponseReport { endpoint, first_output } = message;
    let outcome =
        first_output.map_or(ResponseOutcome::Failed, |pb::FirstOutput { work_tokens, elapsed_us }| {
            ResponseOutcome::FirstOutput { work_tokens, elapsed_us }
        });
    ResponseReport { endpoint: EndpointKey(endpoint), outcome }
}

fn encode_placement(placement: &Placement) -> pb::Placement {
    let Placement { number, endpoint, incarnation, anchor, suffix } = placement;
    pb::Placement {
        number: *number,
        endpoint: endpoint.0,
        incarnation: incarnation.0,
        anchor: anchor.0,
        suffix: shared::encode_blocks(suffix),
    }
}

fn decode_placement(message: pb::Placement) -> Result<Placement, WireError> {
    let pb::Placement { number, endpoint, incarnation, anchor, suffix } = message;
    Ok(Placement {
        number,
        endpoint: EndpointKey(endpoint),
        incarnation: Incarnation(incarnation),
        anchor: BlockHash(anchor),
        suffix: shared::decode_blocks(suffix)?,
    })
}
