//! Messages between a replica and the pool's owner: feedback one way, replies the other.

use std::sync::Arc;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_signal::ArrivalCounts;
use signalbox_state::{
    Feedback, FeedbackReply, GaugeScope, Placement, ResponseOutcome, ResponseReport, UsageReport,
};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, ModelKey, Origin, ResponseKey};

use crate::error::WireError;
use crate::flows;
use crate::hello::Hello;
use crate::shared;

/// Encodes a batch of feedback. The first batch of a stream carries `hello`.
pub fn encode_feedback(hello: Option<&Hello>, feedback: Feedback) -> pb::FeedbackBatch {
    let Feedback {
        epoch,
        origin,
        seq,
        scope,
        gauges,
        placements,
        adapters,
        responses,
        usage,
        flows,
        arrivals,
    } = feedback;
    let flows::EncodedReport { flows, revocable, flow_settings } = flows::encode_report(flows);
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
        usage: usage.into_iter().map(encode_usage).collect(),
        flows,
        flow_settings,
        revocable,
        arrivals: arrivals.map(encode_arrivals),
        hello: hello.map(Hello::message),
    }
}

/// Decodes a batch of feedback. Its hello is decoded by [`Hello::read`].
///
/// # Errors
/// [`WireError`] when a gauge has no load, a placement contains the root as a block, there are more placements or
/// blocks than [`Feedback`] and [`Placement`] allow, or what waits, what can be revoked or the settings
/// are out of bounds.
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
        usage,
        flows,
        flow_settings,
        revocable,
        arrivals,
        hello: _,
    } = message;
    check_bounds(&placements)?;
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
        usage: usage.into_iter().map(decode_usage).collect(),
        flows: flows::decode_report(flows::EncodedReport { flows, revocable, flow_settings })?,
        arrivals: arrivals.map(decode_arrivals),
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

fn encode_arrivals(arrivals: ArrivalCounts) -> pb::ArrivalCounts {
    let ArrivalCounts { requests, prefill_tokens, output_tokens, refused } = arrivals;
    pb::ArrivalCounts { requests, prefill_tokens, output_tokens, refused }
}

fn decode_arrivals(message: pb::ArrivalCounts) -> ArrivalCounts {
    let pb::ArrivalCounts { requests, prefill_tokens, output_tokens, refused } = message;
    ArrivalCounts { requests, prefill_tokens, output_tokens, refused }
}

fn encode_adapter_use((endpoint, adapter): (EndpointKey, Arc<str>)) -> pb::AdapterUse {
    pb::AdapterUse { endpoint: endpoint.0, adapter: adapter.to_string() }
}

fn decode_adapter_use(message: pb::AdapterUse) -> (EndpointKey, Arc<str>) {
    let pb::AdapterUse { endpoint, adapter } = message;
    (EndpointKey(endpoint), adapter.into())
}

fn encode_response(response: ResponseReport) -> pb::ResponseReport {
    let ResponseReport { endpoint, model, outcome } = response;
    pb::ResponseReport {
        endpoint: endpoint.0,
        first_output: matches!(
            outcome,
            ResponseOutcome::FirstOutput | ResponseOutcome::Stored(_) | ResponseOutcome::Deleted(_)
        )
        .then_some(pb::FirstOutput {}),
        model: model.0,
        refused: outcome == ResponseOutcome::Refused,
        probe_sent: outcome == ResponseOutcome::ProbeSent,
        stored_response: match outcome {
            ResponseOutcome::Stored(ResponseKey(response)) => Some(response),
            _ => None,
        },
        deleted_response: match outcome {
            ResponseOutcome::Deleted(ResponseKey(response)) => Some(response),
            _ => None,
        },
    }
}

fn decode_response(message: pb::ResponseReport) -> ResponseReport {
    let pb::ResponseReport {
        endpoint,
        first_output,
        model,
        refused,
        probe_sent,
        stored_response,
        deleted_response,
    } = message;
    let outcome = match (stored_response, deleted_response, first_output) {
        (Some(response), _, _) => ResponseOutcome::Stored(ResponseKey(response)),
        (None, Some(response), _) => ResponseOutcome::Deleted(ResponseKey(response)),
        (None, None, Some(pb::FirstOutput {})) => ResponseOutcome::FirstOutput,
        (None, None, None) if refused => ResponseOutcome::Refused,
        (None, None, None) if probe_sent => ResponseOutcome::ProbeSent,
        (None, None, None) => ResponseOutcome::Failed,
    };
    ResponseReport { endpoint: EndpointKey(endpoint), model: ModelKey(model), outcome }
}

fn encode_usage(usage: UsageReport) -> pb::UsageReport {
    let UsageReport {
        endpoint: EndpointKey(endpoint),
        incarnation: Incarnation(incarnation),
        model: ModelKey(model),
        text_bytes,
        token_ids,
        media_tokens,
        predicted_tokens,
        predicted_cached_tokens,
        prompt_tokens,
        cached_tokens,
        output_tokens,
        last_block: BlockHash(last_block),
        held_blocks,
        cached_blocks,
        sole_prefill_us,
    } = usage;
    pb::UsageReport {
        endpoint,
        incarnation,
        model,
        text_bytes,
        token_ids,
        media_tokens,
        predicted_tokens,
        predicted_cached_tokens,
        prompt_tokens,
        cached_tokens,
        output_tokens,
        last_block,
        held_blocks,
        cached_blocks,
        sole_prefill_us,
    }
}

fn decode_usage(message: pb::UsageReport) -> UsageReport {
    let pb::UsageReport {
        endpoint,
        incarnation,
        model,
        text_bytes,
        token_ids,
        media_tokens,
        predicted_tokens,
        predicted_cached_tokens,
        prompt_tokens,
        cached_tokens,
        output_tokens,
        last_block,
        held_blocks,
        cached_blocks,
        sole_prefill_us,
    } = message;
    UsageReport {
        endpoint: EndpointKey(endpoint),
        incarnation: Incarnation(incarnation),
        model: ModelKey(model),
        text_bytes,
        token_ids,
        media_tokens,
        predicted_tokens,
        predicted_cached_tokens,
        prompt_tokens,
        cached_tokens,
        output_tokens,
        last_block: BlockHash(last_block),
        held_blocks,
        cached_blocks,
        sole_prefill_us,
    }
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

/// Checks the work that the placements of a batch can cause: the owner handles a batch at once.
fn check_bounds(placements: &[pb::Placement]) -> Result<(), WireError> {
    if placements.len() > Feedback::MAX_PLACEMENTS {
        return Err(WireError::Bounds("the number of placements in a batch"));
    }
    let blocks = placements.iter().map(|placement| placement.suffix.len());
    if blocks.clone().any(|blocks| blocks > Placement::MAX_BLOCKS) {
        return Err(WireError::Bounds("the number of blocks in a placement"));
    }
    if blocks.sum::<usize>() > Feedback::MAX_BLOCKS {
        return Err(WireError::Bounds("the number of blocks in a batch"));
    }
    Ok(())
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
