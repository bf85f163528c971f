use signalbox_intake::response::Usage;
use signalbox_schedule::Policy;
use signalbox_state::{Feedback, GaugeScope, Pool, PoolInput, ScrapeStatus};
use signalbox_types::{ModelKey, Origin};

use super::*;
use crate::bookings::booked_request::BookedRequest;
use crate::deciding::picker::FeedbackReceivers;
use crate::test_support::{FIRST, SECOND, granted, picker_with_feedback, pool, prompt_of};

/// Size of a block, in bytes, and in tokens of the default ratio.
const BLOCK: (u64, u64) = (256, 64);

fn start() -> (Picker, FeedbackReceivers) {
    picker_with_feedback(&pool(&[FIRST], ScrapeStatus::Fresh), Policy::default())
}

fn booked(picker: &Picker, blocks: u64) -> BookedRequest {
    picker.pick(prompt_of(blocks, BLOCK.0), granted()).unwrap().booked
}

fn reported(prompt_tokens: u64, cached_tokens: Option<u64>) -> Usage {
    Usage { prompt_tokens: Some(prompt_tokens), cached_tokens, ..Usage::default() }
}

#[test]
fn reported_cached_tokens_are_told_in_blocks_of_the_prompt() {
    let (picker, _feedback) = start();
    drop(booked(&picker, 20));
    let mut again = booked(&picker, 20);
    assert_eq!(20, again.usage.held_blocks, "the first request placed the prompt");
    // The engine makes twice as many tokens of the text as predicted, and held half of them.
    again.handle_usage(&picker, &reported(2 * 20 * BLOCK.1, Some(20 * BLOCK.1)));
    let usage = again.usage;
    assert_eq!((20 * BLOCK.1, 20 * BLOCK.1 - 1), (usage.predicted_tokens, usage.predicted_cached_tokens));
    assert_eq!((Some(20 * BLOCK.1), Some(10)), (usage.cached_tokens, usage.cached_blocks));
    assert_eq!(BlockHash(20), usage.last_block);
}

#[test]
fn absent_cached_tokens_are_unknown_until_the_engine_has_reported_some() {
    let (picker, _feedback) = start();
    let cached_blocks = |cached_tokens| {
        let mut booked = booked(&picker, 20);
        booked.handle_usage(&picker, &reported(20 * BLOCK.1, cached_tokens));
        booked.usage.cached_blocks
    };
    assert_eq!([None, Some(5), Some(0)], [None, Some(5 * BLOCK.1), None].map(cached_blocks));
}

#[test]
fn prompt_whose_placement_was_dropped_is_placed_with_its_usage() {
    let (picker, mut feedback) = start();
    let mut booked = booked(&picker, 20);
    let placed = feedback.placements.try_recv().unwrap();
    picker.overlay.remove(&placed);
    booked.prompt.is_placed = false;
    booked.handle_usage(&picker, &reported(20 * BLOCK.1, None));
    let again = feedback.placements.try_recv().unwrap();
    assert_eq!((placed.endpoint, &placed.chain), (again.endpoint, &again.chain));
}

#[test]
fn prompt_that_the_engine_holds_and_the_pool_has_lost_is_placed_again() {
    for (cached_blocks, is_placed_again) in [(4, false), (15, true)] {
        let (picker, mut feedback) = start();
        let mut booked = booked(&picker, 20);
        // The pool evicts the prompt while it is processed.
        picker.overlay.remove(&feedback.placements.try_recv().unwrap());
        booked.handle_usage(&picker, &reported(20 * BLOCK.1, Some(cached_blocks * BLOCK.1)));
        assert_eq!(is_placed_again, feedback.placements.try_recv().is_ok(), "{cached_blocks}");
    }
    let (picker, mut feedback) = start();
    let mut booked = booked(&picker, 20);
    feedback.placements.try_recv().unwrap();
    booked.handle_usage(&picker, &reported(20 * BLOCK.1, Some(15 * BLOCK.1)));
    assert!(feedback.placements.try_recv().is_err(), "the pool still knows the prompt");
}

#[test]
fn prompt_that_another_endpoint_served_is_not_compared() {
    let (picker, _feedback) =
        picker_with_feedback(&pool(&[FIRST, SECOND], ScrapeStatus::Fresh), Policy::default());
    let mut booked = booked(&picker, 20);
    let others = picker
        .snapshot
        .load()
        .view
        .endpoints
        .iter()
        .map(|member| (member.key, member.spec.address))
        .collect::<Vec<_>>();
    let (_, other) = *others.iter().find(|(key, _)| *key != booked.endpoint).unwrap();
    booked.move_to(&picker, other);
    booked.handle_usage(&picker, &reported(20 * BLOCK.1, Some(15 * BLOCK.1)));
    assert_eq!((BlockHash::ROOT, None), (booked.usage.last_block, booked.usage.cached_blocks));
}

/// Teaches a pool that model "m" makes a token of every two bytes.
fn teach(pool: &mut Pool) {
    let endpoint = pool.pool_state().endpoints().next().unwrap().clone();
    let usage = UsageReport {
        text_bytes: 8_000,
        prompt_tokens: Some(4_000),
        ..UsageReport::new(endpoint.key, endpoint.observed.incarnation, ModelKey::of("m"))
    };
    let batch = Feedback { usage: vec![usage; 200], ..Feedback::new(Origin(9), 1, GaugeScope::Changed) };
    pool.handle(0, PoolInput::Feedback(batch));
}

#[test]
fn prompts_are_weighed_by_the_ratio_that_the_pool_learned() {
    let mut pool = pool(&[FIRST], ScrapeStatus::Fresh);
    teach(&mut pool);
    let (picker, _feedback) = picker_with_feedback(&pool, Policy::default());
    drop(booked(&picker, 20));
    let usage = booked(&picker, 10).usage;
    let expected = 10 * BLOCK.0 / 2;
    assert!(usage.predicted_tokens.abs_diff(expected) <= expected / 25, "{}", usage.predicted_tokens);
    assert_eq!(usage.predicted_tokens - 1, usage.predicted_cached_tokens);
    let explained = picker.explain(&prompt_of(10, BLOCK.0), 0).explanation.unwrap();
    assert_eq!(usage.predicted_tokens, explained.request.prompt_tokens);
}
