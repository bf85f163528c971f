//! Tests of the election.

use super::*;

const FAILBACK_AFTER_MS: u64 = 30_000;
const WON: ClaimResult = ClaimResult::Won { epoch: 5, is_first: false };

fn standby() -> Election {
    let mut election = Election::new("a".to_owned(), 0, FAILBACK_AFTER_MS);
    election.set_candidates(0, vec!["a".to_owned()]);
    election
}

fn owner() -> Election {
    let mut election = standby();
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(Some(ElectionStep::Claim), election.next(0, false));
    election.record_claim_result(0, WON);
    election.observe_owner(ObservedOwner::Own(5));
    election
}

#[test]
fn pool_is_claimed_when_its_lease_is_gone_and_its_owner_is_silent() {
    let mut election = standby();
    assert_eq!(None, election.next(0, false));
    election.observe_owner(ObservedOwner::Other(4));
    assert_eq!(None, election.next(0, false));
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(None, election.next(0, true));
    assert_eq!(Some(ElectionStep::Claim), election.next(0, false));
    assert_eq!(None, election.next(10_000, false), "one claim at a time");
}

#[test]
fn preferred_aggregator_claims_first_and_others_after_a_delay() {
    let names = || vec!["a".to_owned(), "b".to_owned()];
    let first_moves = |name: &str, pool_hash| {
        let mut election = Election::new(name.to_owned(), pool_hash, FAILBACK_AFTER_MS);
        election.set_candidates(0, names());
        election.observe_owner(ObservedOwner::Nobody);
        [0, YIELD_MS].map(|now_ms| election.next(now_ms, false))
    };
    let mut preferred = [0, 0];
    for pool_hash in 0..64 {
        let (a, b) = (first_moves("a", pool_hash), first_moves("b", pool_hash));
        let first = usize::from(b[0].is_some());
        assert_ne!(a[0].is_some(), b[0].is_some());
        assert_eq!([Some(ElectionStep::Claim); 2], if first == 0 { [a[0], b[1]] } else { [b[0], a[1]] });
        preferred[first] += 1;
    }
    assert!(preferred.iter().all(|pools| *pools > 16), "pools spread: {preferred:?}");
}

/// Returns an owner, and the name of an aggregator that is preferred over it.
fn owner_and_preferred() -> (Election, String) {
    let is_preferred = |name: &String| {
        let mut election = standby();
        election.set_candidates(0, vec!["a".to_owned(), name.clone()]);
        election.preferred.is_some()
    };
    let preferred = (0..).map(|number| format!("b{number}")).find(is_preferred).unwrap();
    (owner(), preferred)
}

#[test]
fn owner_fails_back_to_a_preferred_aggregator_that_stayed_alive() {
    let (mut election, preferred) = owner_and_preferred();
    let both = || vec!["a".to_owned(), preferred.clone()];
    election.set_candidates(1_000, both());
    election.set_preferred_caught_up(true);
    assert_eq!(None, election.next(1_000 + FAILBACK_AFTER_MS - 1, false));
    election.set_candidates(20_000, vec!["a".to_owned()]);
    assert_eq!(None, election.next(1_000 + FAILBACK_AFTER_MS, false), "it did not stay alive");
    election.set_candidates(40_000, both());
    assert_eq!(None, election.next(40_000 + FAILBACK_AFTER_MS, false), "it is not up to date");
    election.set_candidates(50_000, both());
    election.set_preferred_caught_up(true);
    assert_eq!(Some(ElectionStep::FailBack), election.next(40_000 + FAILBACK_AFTER_MS, false));
}

#[test]
fn owner_fails_back_only_once_to_an_aggregator_that_does_not_take_the_pool() {
    let (mut election, preferred) = owner_and_preferred();
    let both = || vec!["a".to_owned(), preferred.clone()];
    election.set_candidates(0, both());
    election.set_preferred_caught_up(true);
    assert_eq!(Some(ElectionStep::FailBack), election.next(40_000, false));
    election.record_step_down(40_000);
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(None, election.next(40_000, false));
    assert_eq!(Some(ElectionStep::Claim), election.next(40_000 + CLAIM_RETRY_MS, false));
    election.record_claim_result(41_000, ClaimResult::Won { epoch: 6, is_first: false });
    election.observe_owner(ObservedOwner::Own(6));
    election.set_candidates(42_000, both());
    assert_eq!(None, election.next(200_000, false));
    election.set_candidates(200_000, vec!["a".to_owned()]);
    election.set_candidates(201_000, both());
    election.set_preferred_caught_up(true);
    assert_eq!(
        Some(ElectionStep::FailBack),
        election.next(240_000, false),
        "it is another run of the aggregator"
    );
}

#[test]
fn unconfirmed_owner_does_not_fail_back() {
    let (mut election, preferred) = owner_and_preferred();
    election.set_candidates(0, vec!["a".to_owned(), preferred]);
    election.set_preferred_caught_up(true);
    election.observe_owner(ObservedOwner::Unknown);
    assert_eq!(None, election.next(40_000, false));
    election.observe_owner(ObservedOwner::Own(5));
    election.record_higher_epoch(9);
    assert_eq!(Some(ElectionStep::Claim), election.next(40_000, false));
    assert_eq!(None, election.next(40_000, false));
}

#[test]
fn owner_steps_down_for_a_later_epoch() {
    let mut election = owner();
    election.observe_owner(ObservedOwner::Other(4));
    assert_eq!(None, election.next(1_000, false));
    election.observe_owner(ObservedOwner::Other(6));
    assert_eq!(Some(ElectionStep::StepDown), election.next(1_000, false));
    election.record_step_down(1_000);
    assert_eq!(None, election.next(9_000, false));
}

#[test]
fn outranked_owner_claims_again_and_steps_down_when_refused() {
    let mut election = owner();
    election.record_higher_epoch(9);
    assert_eq!(None, election.next(CLAIM_RETRY_MS - 1, false));
    assert_eq!(Some(ElectionStep::Claim), election.next(CLAIM_RETRY_MS, false));
    election.record_claim_result(CLAIM_RETRY_MS, ClaimResult::Unanswered);
    assert_eq!(Some(ElectionStep::Claim), election.next(2 * CLAIM_RETRY_MS, false));
    election.record_claim_result(2 * CLAIM_RETRY_MS, ClaimResult::Held(9));
    assert_eq!(Some(ElectionStep::StepDown), election.next(2 * CLAIM_RETRY_MS, false));
}

#[test]
fn outranked_owner_continues_under_a_later_epoch() {
    let mut election = owner();
    election.record_higher_epoch(9);
    assert_eq!(Some(ElectionStep::Claim), election.next(CLAIM_RETRY_MS, false));
    election.record_claim_result(CLAIM_RETRY_MS, ClaimResult::Won { epoch: 10, is_first: false });
    assert_eq!(None, election.next(9_000, false));
}

#[test]
fn owner_that_lost_its_lease_claims_again() {
    let mut election = owner();
    assert_eq!(None, election.next(1_000, false));
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(Some(ElectionStep::Claim), election.next(1_000, false));
}

#[test]
fn claim_without_answer_is_repeated() {
    let mut election = standby();
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(Some(ElectionStep::Claim), election.next(0, false));
    election.record_claim_result(0, ClaimResult::Unanswered);
    election.observe_owner(ObservedOwner::Own(5));
    assert_eq!(Some(ElectionStep::Claim), election.next(CLAIM_RETRY_MS, false));
}

#[test]
fn draining_aggregator_does_not_claim() {
    let mut election = standby();
    election.drain();
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(None, election.next(0, false));
}
