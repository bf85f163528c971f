//! Between a replica and the pool's owner: feedback up, what the owner asks back down.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Feedback, GaugeScope, Placement, ResponseOutcome, ResponseReport};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, Origin};

use crate::error::WireError;
use crate::hello::Hello;
use crate::parts;

/// What the owner answers to feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send the whole chain of this placement: its anchor is not known.
    NeedChain(u64),
    /// This origin was given up: take a new one. Each batch that was on its way is answered so, and only the first one counts.
    Expired(Origin),
}

/// A batch of feedback; `hello` with the first one of a stream.
pub fn feedback_batch(hello: Option<&Hello>, feedback: Feedback) -> pb::FeedbackBatch {
    let Feedback { epoch, origin, seq, scope, gauges, placements, adapters, responses } = feedback;
    let gauge = |(endpoint, load): (EndpointKey, _)| pb::OriginGauge {
        endpoint: endpoint.0,
        load: Some(parts::load_message(load)),
    };
    pb::FeedbackBatch {
        epoch,
        origin: origin.0,
        seq,
        whole: scope == GaugeScope::Whole,
        gauges: gauges.into_iter().map(gauge).collect(),
        placements: placements.iter().map(placement_message).collect(),
        adapters: adapters.into_iter().map(adapter_message).collect(),
        responses: responses.into_iter().map(answer_message).collect(),
        hello: hello.map(Hello::message),
    }
}

/// What a batch of feedback says; its hello is read by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when a gauge has no load or a placement names the root as a block.
pub fn feedback(message: pb::FeedbackBatch) -> Result<Feedback, WireError> {
    let pb::FeedbackBatch { epoch, origin, seq, whole, gauges, placements, adapters, responses, hello: _ } =
        message;
    let gauge = |gauge: pb::OriginGauge| Ok((EndpointKey(gauge.endpoint), parts::load(gauge.load)?));
    Ok(Feedback {
        epoch,
        origin: Origin(origin),
        seq,
        scope: if whole { GaugeScope::Whole } else { GaugeScope::Changed },
        gauges: gauges.into_iter().map(gauge).collect::<Result<_, WireError>>()?,
        placements: placements.into_iter().map(placement).collect::<Result<_, _>>()?,
        adapters: adapters.into_iter().map(adapter).collect(),
        responses: responses.into_iter().map(answer).collect(),
    })
}

/// The owner's answer.
pub fn feedback_reply(epoch: u64, reply: Reply) -> pb::FeedbackReply {
    use pb::feedback_reply::Reply as Kind;
    let reply = match reply {
        Reply::NeedChain(number) => Kind::NeedChain(number),
        Reply::Expired(origin) => Kind::Expired(origin.0),
    };
    pb::FeedbackReply { epoch, reply: Some(reply) }
}

/// What the owner answers.
///
/// # Errors
/// [`WireError`] when the kind of answer is not known here.
pub fn reply(message: &pb::FeedbackReply) -> Result<Reply, WireError> {
    use pb::feedback_reply::Reply as Kind;
    match message.reply {
        Some(Kind::NeedChain(number)) => Ok(Reply::NeedChain(number)),
        Some(Kind::Expired(origin)) => Ok(Reply::Expired(Origin(origin))),
        None => Err(WireError::Missing("reply")),
    }
}

fn adapter_message((endpoint, adapter): (EndpointKey, Arc<str>)) -> pb::AdapterSent {
    pb::AdapterSent { endpoint: endpoint.0, adapter: adapter.to_string() }
}

fn adapter(message: pb::AdapterSent) -> (EndpointKey, Arc<str>) {
    let pb::AdapterSent { endpoint, adapter } = message;
    (EndpointKey(endpoint), adapter.into())
}

fn answer_message(answer: ResponseReport) -> pb::ResponseReport {
    let first_output = match answer.answered {
        ResponseOutcome::Failed => None,
        ResponseOutcome::FirstOutput { work_tokens, elapsed_us } => {
            Some(pb::FirstOutput { work_tokens, elapsed_us })
        }
    };
    pb::ResponseReport { endpoint: answer.endpoint.0, first_output }
}

fn answer(message: pb::ResponseReport) -> ResponseReport {
    let pb::ResponseReport { endpoint, first_output } = message;
    let answered =
        first_output.map_or(ResponseOutcome::Failed, |pb::FirstOutput { work_tokens, elapsed_us }| {
            ResponseOutcome::FirstOutput { work_tokens, elapsed_us }
        });
    ResponseReport { endpoint: EndpointKey(endpoint), answered }
}

fn placement_message(placement: &Placement) -> pb::Placement {
    let Placement { number, endpoint, incarnation, anchor, suffix } = placement;
    pb::Placement {
        number: *number,
        endpoint: endpoint.0,
        incarnation: incarnation.0,
        anchor: anchor.0,
        suffix: parts::hashes(suffix),
    }
}

fn placement(message: pb::Placement) -> Result<Placement, WireError> {
    let pb::Placement { number, endpoint, incarnation, anchor, suffix } = message;
    Ok(Placement {
        number,
        endpoint: EndpointKey(endpoint),
        incarnation: Incarnation(incarnation),
        anchor: BlockHash(anchor),
        suffix: parts::chain(suffix)?,
    })
}
