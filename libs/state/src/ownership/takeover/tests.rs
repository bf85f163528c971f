//! Tests of the takeover.

use signalbox_types::Version;

use super::*;

const fn at(epoch: u64, seq: u64) -> Option<Offer> {
    Some(Offer::new(0, Version { epoch, seq }))
}

/// Returns what a process offers whose state is provisional since this epoch.
const fn provisional_at(since: u64, epoch: u64, seq: u64) -> Option<Offer> {
    Some(Offer::new(since, Version { epoch, seq }))
}

#[test]
fn final_state_is_fetched_rather_than_a_provisional_one() {
    let mut takeover = Takeover::new(4, 0, 0, &BTreeSet::from([1, 2]));
    takeover.record_cursor(1, 4, at(1, 90));
    takeover.record_cursor(2, 4, provisional_at(3, 3, 7));
    assert_eq!(TakeoverStep::Fetch(1), takeover.next(0, None));
    takeover.finish_fetch(at(1, 90));
    assert_eq!(TakeoverStep::Complete, takeover.next(0, at(1, 90)));
}

#[test]
fn state_that_began_earlier_is_fetched_rather_than_one_that_began_later() {
    let mut takeover = Takeover::new(4, 0, 0, &BTreeSet::from([1, 2]));
    takeover.record_cursor(1, 4, provisional_at(1, 1, 90));
    takeover.record_cursor(2, 4, provisional_at(2, 3, 7));
    assert_eq!(TakeoverStep::Fetch(1), takeover.next(0, None));
}

#[test]
fn holder_of_a_provisional_state_fetches_only_what_applies_to_it() {
    let mut takeover = Takeover::new(5, 0, 0, &BTreeSet::from([1, 2, 3]));
    takeover.record_cursor(1, 5, at(1, 90));
    takeover.record_cursor(2, 5, provisional_at(3, 3, 7));
    takeover.record_cursor(3, 5, at(4, 2));
    assert_eq!(TakeoverStep::Fetch(3), takeover.next(0, provisional_at(3, 3, 6)));
    takeover.remove_follower(3);
    assert_eq!(TakeoverStep::Fetch(2), takeover.next(0, provisional_at(3, 3, 6)));
    takeover.finish_fetch(provisional_at(3, 3, 7));
    assert_eq!(TakeoverStep::Complete, takeover.next(0, provisional_at(3, 3, 7)));
}

#[test]
fn takeover_completes_when_no_follower_has_more_history() {
    let mut takeover = Takeover::new(2, 0, 2_000, &BTreeSet::from([1, 2]));
    takeover.record_cursor(1, 3, at(1, 9));
    assert_eq!(TakeoverStep::Wait, takeover.next(10, at(1, 10)));
    takeover.record_cursor(2, 3, None);
    assert_eq!(TakeoverStep::Complete, takeover.next(10, at(1, 10)));
}

#[test]
fn cursor_that_was_sent_before_the_claim_is_no_answer() {
    let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1]));
    takeover.record_cursor(1, 2, at(1, 10));
    assert_eq!(TakeoverStep::Wait, takeover.next(10, at(1, 10)));
    takeover.record_cursor(1, 3, at(1, 12));
    assert_eq!(TakeoverStep::Fetch(1), takeover.next(20, at(1, 10)));
}

#[test]
fn takeover_waits_briefly_for_missing_cursors() {
    for (held, empty_wait_ms) in [(at(1, 10), 2_000), (None, 0)] {
        let mut takeover = Takeover::new(2, 0, empty_wait_ms, &BTreeSet::from([1]));
        assert_eq!(TakeoverStep::Wait, takeover.next(CURSOR_WAIT_MS - 1, held));
        assert_eq!(TakeoverStep::Complete, takeover.next(CURSOR_WAIT_MS, held));
    }
}

#[test]
fn highest_version_is_fetched_first_then_the_next() {
    let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1, 2]));
    takeover.record_cursor(1, 3, at(1, 90));
    takeover.record_cursor(2, 3, at(2, 7));
    assert_eq!(TakeoverStep::Fetch(2), takeover.next(0, None));
    assert_eq!(TakeoverStep::Wait, takeover.next(10, None));
    takeover.remove_follower(2);
    assert_eq!(TakeoverStep::Fetch(1), takeover.next(20, None));
    assert_eq!(
        TakeoverStep::Wait,
        takeover.next(30, at(1, 90)),
        "the heartbeat that ends the fetch is missing"
    );
    takeover.finish_fetch(at(1, 90));
    assert_eq!(TakeoverStep::Complete, takeover.next(30, at(1, 90)));
}

#[test]
fn owner_without_state_waits_for_a_follower_with_state() {
    let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::new());
    assert_eq!(TakeoverStep::Wait, takeover.next(1_999, None));
    assert_eq!(TakeoverStep::Complete, takeover.next(2_000, None));
    let mut first = Takeover::new(1, 0, 0, &BTreeSet::new());
    assert_eq!(TakeoverStep::Complete, first.next(0, None));
}

#[test]
fn fetch_lasts_as_long_as_frames_arrive() {
    let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1]));
    takeover.record_cursor(1, 3, at(1, 90));
    assert_eq!(TakeoverStep::Fetch(1), takeover.next(0, None));
    for now_ms in (0..30_000).step_by(FETCH_SILENCE_MS as usize - 1) {
        assert!(takeover.record_frame(now_ms, 1));
        assert!(!takeover.record_frame(now_ms, 2));
        assert_eq!(TakeoverStep::Wait, takeover.next(now_ms + FETCH_SILENCE_MS - 1, None));
    }
    takeover.finish_fetch(at(1, 90));
    assert_eq!(TakeoverStep::Complete, takeover.next(31_000, at(1, 90)));
}

#[test]
fn follower_that_falls_silent_is_not_asked_again() {
    let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1, 2]));
    takeover.record_cursor(1, 3, at(1, 90));
    takeover.record_cursor(2, 3, at(1, 80));
    assert_eq!(TakeoverStep::Fetch(1), takeover.next(0, None));
    assert_eq!(TakeoverStep::Abandon(1), takeover.next(FETCH_SILENCE_MS, None));
    takeover.record_cursor(1, 3, at(1, 91));
    assert_eq!(TakeoverStep::Fetch(2), takeover.next(FETCH_SILENCE_MS, None));
    takeover.finish_fetch(at(1, 80));
    takeover.record_cursor(1, 3, at(1, 92));
    assert_eq!(TakeoverStep::Complete, takeover.next(FETCH_SILENCE_MS + 1, at(1, 80)));
}

#[test]
fn followers_whose_offers_cannot_be_assembled_are_asked_once() {
    let mut takeover = Takeover::new(3, 0, 0, &BTreeSet::from([1, 2]));
    let mut asked = Vec::new();
    for now_ms in 0..10 {
        (1..=2).for_each(|follower| takeover.record_cursor(follower, 3, at(1, 90)));
        match takeover.next(now_ms, None) {
            TakeoverStep::Fetch(follower) => asked.push(follower),
            step => assert_eq!(TakeoverStep::Complete, step),
        }
        takeover.finish_fetch(None);
    }
    assert_eq!(vec![2, 1], asked);
}

#[test]
fn follower_that_sends_little_cannot_delay_the_takeover_for_ever() {
    let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1, 2]));
    (1..=2).for_each(|follower| takeover.record_cursor(follower, 3, at(1, 90)));
    assert_eq!(TakeoverStep::Fetch(2), takeover.next(0, at(1, 5)));
    for now_ms in 1..MAX_FETCH_MS {
        takeover.record_frame(now_ms, 2);
        assert_eq!(TakeoverStep::Wait, takeover.next(now_ms, at(1, 5)));
    }
    assert_eq!(TakeoverStep::Abandon(2), takeover.next(MAX_FETCH_MS, at(1, 5)));
    assert_eq!(TakeoverStep::Complete, takeover.next(MAX_FETCH_MS, at(1, 5)));
}
