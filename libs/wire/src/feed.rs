//! Between a replica and the pool's owner: feedback up, what the owner asks back down.

use signalbox_protos::signalbox::v1 as pb;
use signalbox_state::{Feedback, Placement, Scope};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, Origin};

use crate::error::WireError;
use crate::parts;

/// What the owner answers to feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Send the whole chain of this placement: its anchor is not known.
    NeedChain(u64),
    /// The replica was given up: take a new origin.
    Expired,
}

/// A batch of feedback.
pub fn feedback_batch(feedback: Feedback) -> pb::FeedbackBatch {
    let Feedback { epoch, origin, seq, scope, gauges, placements } = feedback;
    let gauge = |(endpoint, load): (EndpointKey, _)| pb::OriginGauge {
        endpoint: endpoint.0,
        load: Some(parts::load_message(load)),
    };
    pb::FeedbackBatch {
        epoch,
        origin: origin.0,
        seq,
        whole: scope == Scope::Whole,
        gauges: gauges.into_iter().map(gauge).collect(),
        placements: placements.iter().map(placement_message).collect(),
    }
}

/// What a batch of feedback says.
///
/// # Errors
/// [`WireError`] when a gauge has no load or a placement names the root as a block.
pub fn feedback(message: pb::FeedbackBatch) -> Result<Feedback, WireError> {
    let pb::FeedbackBatch { epoch, origin, seq, whole, gauges, placements } = message;
    let gauge = |gauge: pb::OriginGauge| Ok((EndpointKey(gauge.endpoint), parts::load(gauge.load)?));
    Ok(Feedback {
        epoch,
        origin: Origin(origin),
        seq,
        scope: if whole { Scope::Whole } else { Scope::Changed },
        gauges: gauges.into_iter().map(gauge).collect::<Result<_, WireError>>()?,
        placements: placements.into_iter().map(placement).collect::<Result<_, _>>()?,
    })
}

/// The owner's answer.
pub fn feedback_reply(epoch: u64, reply: Reply) -> pb::FeedbackReply {
    use pb::feedback_reply::Reply as Kind;
    let reply = match reply {
        Reply::NeedChain(number) => Kind::NeedChain(number),
        Reply::Expired => Kind::Expired(true),
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
        Some(Kind::Expired(_)) => Ok(Reply::Expired),
        None => Err(WireError::Missing("reply")),
    }
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
