//! Feedback, and the replies to it.

use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest};
use signalbox_state::{
    Feedback, FeedbackReply, GaugeScope, Placement, ResponseOutcome, ResponseReport, UsageReport,
};
use signalbox_types::{BlockHash, EndpointKey, Incarnation, ModelKey, Origin, ResponseKey};
use signalbox_wire::WireError;

use crate::flows::report;
use crate::signal::arrivals;
use crate::through_bytes;
use crate::values::{anchor, key, load, origin, suffix};

fn response() -> impl Strategy<Value = ResponseReport> {
    let outcome = prop_oneof![
        Just(ResponseOutcome::Failed),
        Just(ResponseOutcome::Refused),
        Just(ResponseOutcome::FirstOutput),
        Just(ResponseOutcome::ProbeSent),
        any::<u64>().prop_map(|response| ResponseOutcome::Stored(ResponseKey(response))),
        any::<u64>().prop_map(|response| ResponseOutcome::Deleted(ResponseKey(response))),
    ];
    (key(), any::<u64>(), outcome).prop_map(|(endpoint, model, outcome)| ResponseReport {
        endpoint,
        model: ModelKey(model),
        outcome,
    })
}

fn usage() -> impl Strategy<Value = UsageReport> {
    let placed = (any::<u64>().prop_map(BlockHash), any::<u32>(), any::<Option<u32>>());
    (key(), any::<[u64; 7]>(), any::<[Option<u64>; 4]>(), placed).prop_map(
        |(endpoint, numbers, optional, placed)| {
            let [
                incarnation,
                model,
                text_bytes,
                token_ids,
                media_tokens,
                predicted_tokens,
                predicted_cached_tokens,
            ] = numbers;
            let [prompt_tokens, cached_tokens, output_tokens, sole_prefill_us] = optional;
            let (last_block, held_blocks, cached_blocks) = placed;
            UsageReport {
                endpoint,
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
                last_block,
                held_blocks,
                cached_blocks,
                sole_prefill_us,
            }
        },
    )
}

fn feedback() -> impl Strategy<Value = Feedback> {
    let placement = (any::<[u64; 2]>(), key(), anchor(), suffix()).prop_map(
        |([number, incarnation], endpoint, anchor, suffix)| Placement {
            number,
            endpoint,
            incarnation: Incarnation(incarnation),
            anchor,
            suffix,
        },
    );
    let scope = prop_oneof![Just(GaugeScope::All), Just(GaugeScope::Changed)];
    let events = (
        vec((key(), "[a-z]{0,4}".prop_map(Arc::from)), 0..3),
        vec(response(), 0..3),
        vec(usage(), 0..3),
        report(),
        option::of(arrivals()),
    );
    (any::<[u64; 2]>(), origin(), scope, vec((key(), load()), 0..4), vec(placement, 0..4), events).prop_map(
        |([epoch, seq], origin, scope, gauges, placements, (adapters, responses, usage, flows, arrivals))| {
            Feedback {
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
            }
        },
    )
}

proptest! {
    #[test]
    fn feedback_survives_encoding(sent in feedback()) {
        let message = through_bytes(&signalbox_wire::encode_feedback(None, sent.clone()));
        prop_assert_eq!(Ok(sent), signalbox_wire::decode_feedback(message));
    }

    #[test]
    fn replies_survive_encoding(epoch in any::<u64>(), number in any::<u64>()) {
        for sent in [FeedbackReply::NeedChain(number), FeedbackReply::Expired(Origin(number))] {
            let message = through_bytes(&signalbox_wire::encode_feedback_reply(epoch, sent));
            prop_assert_eq!((epoch, Ok(sent)), (message.epoch, signalbox_wire::decode_feedback_reply(&message)));
        }
    }
}

fn batch(chains: impl IntoIterator<Item = usize>) -> Feedback {
    let placement = |blocks| Placement {
        number: 1,
        endpoint: EndpointKey(1),
        incarnation: Incarnation(1),
        anchor: BlockHash::ROOT,
        suffix: vec![BlockHash(1); blocks].into(),
    };
    Feedback {
        epoch: 1,
        placements: chains.into_iter().map(placement).collect(),
        ..Feedback::new(Origin(1), 1, GaugeScope::All)
    }
}

#[test]
fn work_in_one_batch_is_bounded() {
    let decoded =
        |batch| signalbox_wire::decode_feedback(signalbox_wire::encode_feedback(None, batch)).map(drop);
    let whole = Feedback::MAX_BLOCKS / Placement::MAX_BLOCKS;
    assert_eq!(Ok(()), decoded(batch(vec![Placement::MAX_BLOCKS; whole])));
    assert_eq!(Ok(()), decoded(batch(vec![1; Feedback::MAX_PLACEMENTS])));
    let refused = |what| Err(WireError::Bounds(what));
    let too_many = batch(vec![0; Feedback::MAX_PLACEMENTS + 1]);
    assert_eq!(refused("the number of placements in a batch"), decoded(too_many));
    let too_long = batch([Placement::MAX_BLOCKS + 1]);
    assert_eq!(refused("the number of blocks in a placement"), decoded(too_long));
    let too_much = batch(vec![Placement::MAX_BLOCKS; whole + 1]);
    assert_eq!(refused("the number of blocks in a batch"), decoded(too_much));
}
