//! Tests of the election.

use std::ops::{Deref, DerefMut};

use super::*;

const FAILBACK_AFTER_MS: u64 = 30_000;
const LEASE_TTL_MS: u64 = 2_000;
const CLAIM: ElectionStep = ElectionStep::Claim { replacing: None };
const WON: ClaimResult = ClaimResult::Won { epoch: 5, is_first: false };

/// An election, and the epoch under which its aggregator owns the pool.
struct Candidate {
    election: Election,
    own_epoch: Option<u64>,
}

impl Deref for Candidate {
    type Target = Election;

    fn deref(&self) -> &Election {
        &self.election
    }
}

impl DerefMut for Candidate {
    fn deref_mut(&mut self) -> &mut Election {
        &mut self.election
    }
}

impl Candidate {
    fn next(&mut self, now_ms: u64, sees_owner: bool, needs_later_epoch: bool) -> Option<ElectionStep> {
        self.election.next(now_ms, self.own_epoch, sees_owner, needs_later_epoch)
    }

    fn record_claim_result(&mut self, now_ms: u64, result: ClaimResult) {
        if let ClaimResult::Won { epoch, .. } = result {
            self.own_epoch = Some(epoch);
        }
        self.election.record_claim_result(now_ms, result);
    }

    fn record_step_down(&mut self, now_ms: u64) {
        self.own_epoch = None;
        self.election.record_step_down(now_ms);
    }
}

fn election(name: &str, pool_hash: u64) -> Candidate {
    let election = Election::new(name.to_owned(), pool_hash, FAILBACK_AFTER_MS, LEASE_TTL_MS);
    Candidate { election, own_epoch: None }
}

fn standby() -> Candidate {
    let mut election = election("a", 0);
    election.set_candidates(0, vec!["a".to_owned()]);
    election
}

fn other(epoch: u64) -> ObservedOwner {
    ObservedOwner::Other { name: "o".to_owned(), epoch }
}

fn owner() -> Candidate {
    let mut election = standby();
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(Some(CLAIM), election.next(0, false, false));
    election.record_claim_result(0, WON);
    election.observe_owner(ObservedOwner::Own(5));
    election
}

#[test]
fn pool_is_claimed_when_its_lease_is_gone_and_its_owner_is_silent() {
    let mut election = standby();
    assert_eq!(None, election.next(0, false, false));
    election.observe_owner(other(4));
    assert_eq!(None, election.next(0, false, false));
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(None, election.next(0, true, false));
    assert_eq!(Some(CLAIM), election.next(0, false, false));
    assert_eq!(None, election.next(10_000, false, false), "one claim at a time");
}

#[test]
fn preferred_aggregator_claims_first_and_others_after_a_delay() {
    let names = || vec!["a".to_owned(), "b".to_owned()];
    let first_moves = |name: &str, pool_hash| {
        let mut election = election(name, pool_hash);
        election.set_candidates(0, names());
        election.observe_owner(ObservedOwner::Nobody);
        [0, YIELD_MS].map(|now_ms| election.next(now_ms, false, false))
    };
    let mut preferred = [0, 0];
    for pool_hash in 0..64 {
        let (a, b) = (first_moves("a", pool_hash), first_moves("b", pool_hash));
        let first = usize::from(b[0].is_some());
        assert_ne!(a[0].is_some(), b[0].is_some());
        assert_eq!([Some(CLAIM); 2], if first == 0 { [a[0], b[1]] } else { [b[0], a[1]] });
        preferred[first] += 1;
    }
    assert!(preferred.iter().all(|pools| *pools > 16), "pools spread: {preferred:?}");
}

/// Returns an owner, and the name of an aggregator that is preferred over it.
fn owner_and_preferred() -> (Candidate, String) {
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
    assert_eq!(None, election.next(1_000 + FAILBACK_AFTER_MS - 1, false, false));
    election.set_candidates(20_000, vec!["a".to_owned()]);
    assert_eq!(None, election.next(1_000 + FAILBACK_AFTER_MS, false, false), "it did not stay alive");
    election.set_candidates(40_000, both());
    assert_eq!(None, election.next(40_000 + FAILBACK_AFTER_MS, false, false), "it is not up to date");
    election.set_candidates(50_000, both());
    election.set_preferred_caught_up(true);
    assert_eq!(Some(ElectionStep::FailBack), election.next(40_000 + FAILBACK_AFTER_MS, false, false));
}

#[test]
fn preferred_aggregator_that_restarts_within_its_lease_must_stay_alive_again() {
    let (mut election, preferred) = owner_and_preferred();
    election.set_candidates(1_000, vec!["a".to_owned(), preferred.clone()]);
    election.record_join(20_000, &preferred);
    election.set_preferred_caught_up(true);
    election.record_join(40_000, "replica");
    assert_eq!(None, election.next(20_000 + FAILBACK_AFTER_MS - 1, false, false));
    assert_eq!(Some(ElectionStep::FailBack), election.next(20_000 + FAILBACK_AFTER_MS, false, false));
}

#[test]
fn owner_fails_back_only_once_to_an_aggregator_that_does_not_take_the_pool() {
    let (mut election, preferred) = owner_and_preferred();
    let both = || vec!["a".to_owned(), preferred.clone()];
    election.set_candidates(0, both());
    election.set_preferred_caught_up(true);
    assert_eq!(Some(ElectionStep::FailBack), election.next(40_000, false, false));
    election.record_step_down(40_000);
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(None, election.next(40_000, false, false));
    assert_eq!(Some(CLAIM), election.next(40_000 + CLAIM_RETRY_MS, false, false));
    election.record_claim_result(41_000, ClaimResult::Won { epoch: 6, is_first: false });
    election.observe_owner(ObservedOwner::Own(6));
    election.set_candidates(42_000, both());
    assert_eq!(None, election.next(200_000, false, false));
    election.set_candidates(200_000, vec!["a".to_owned()]);
    election.set_candidates(201_000, both());
    election.set_preferred_caught_up(true);
    assert_eq!(
        Some(ElectionStep::FailBack),
        election.next(240_000, false, false),
        "it is another run of the aggregator"
    );
}

#[test]
fn unconfirmed_owner_does_not_fail_back() {
    let (mut election, preferred) = owner_and_preferred();
    election.set_candidates(0, vec!["a".to_owned(), preferred]);
    election.set_preferred_caught_up(true);
    election.observe_owner(ObservedOwner::Unknown);
    assert_eq!(None, election.next(40_000, false, false));
    election.observe_owner(ObservedOwner::Own(5));
    assert_eq!(Some(CLAIM), election.next(40_000, false, true));
    assert_eq!(None, election.next(40_000, false, true));
}

#[test]
fn owner_steps_down_for_a_later_epoch() {
    let mut election = owner();
    election.observe_owner(other(4));
    assert_eq!(None, election.next(1_000, false, false));
    election.observe_owner(other(6));
    assert_eq!(Some(ElectionStep::StepDown), election.next(1_000, false, false));
    election.record_step_down(1_000);
    assert_eq!(None, election.next(9_000, false, false));
}

#[test]
fn outranked_owner_claims_again_and_steps_down_when_refused() {
    let mut election = owner();
    assert_eq!(None, election.next(CLAIM_RETRY_MS - 1, false, true));
    assert_eq!(Some(CLAIM), election.next(CLAIM_RETRY_MS, false, true));
    election.record_claim_result(CLAIM_RETRY_MS, ClaimResult::Unanswered);
    assert_eq!(Some(CLAIM), election.next(2 * CLAIM_RETRY_MS, false, true));
    election.record_claim_result(2 * CLAIM_RETRY_MS, ClaimResult::Held(9));
    assert_eq!(Some(ElectionStep::StepDown), election.next(2 * CLAIM_RETRY_MS, false, true));
}

#[test]
fn outranked_owner_continues_under_a_later_epoch() {
    let mut election = owner();
    assert_eq!(Some(CLAIM), election.next(CLAIM_RETRY_MS, false, true));
    election.record_claim_result(CLAIM_RETRY_MS, ClaimResult::Won { epoch: 10, is_first: false });
    assert_eq!(None, election.next(9_000, false, false));
}

#[test]
fn outranked_owner_whose_claims_are_not_answered_steps_down_after_the_lease() {
    let mut election = owner();
    election.record_outranked(10_000, true);
    assert_eq!(Some(CLAIM), election.next(10_000, false, true));
    election.record_outranked(10_000 + LEASE_TTL_MS - 1, true);
    assert_eq!(None, election.next(10_000 + LEASE_TTL_MS - 1, false, true), "a claim is not answered yet");
    election.record_outranked(10_000 + LEASE_TTL_MS, true);
    assert_eq!(Some(ElectionStep::StepDown), election.next(10_000 + LEASE_TTL_MS, false, true));
    election.record_step_down(10_000 + LEASE_TTL_MS);
    election.record_claim_result(10_000 + LEASE_TTL_MS, ClaimResult::Unanswered);
    election.observe_owner(other(9));
    assert_eq!(None, election.next(60_000, false, false), "it follows");
}

#[test]
fn owner_that_is_outranked_again_has_the_whole_time() {
    let mut election = owner();
    election.record_outranked(10_000, true);
    election.record_outranked(11_000, false);
    election.record_outranked(11_500, true);
    assert_eq!(Some(CLAIM), election.next(10_000 + LEASE_TTL_MS, false, true));
    election.record_outranked(11_500 + LEASE_TTL_MS, true);
    assert_eq!(Some(ElectionStep::StepDown), election.next(11_500 + LEASE_TTL_MS, false, true));
}

#[test]
fn owner_that_lost_its_lease_claims_again() {
    let mut election = owner();
    assert_eq!(None, election.next(1_000, false, false));
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(Some(CLAIM), election.next(1_000, false, false));
}

#[test]
fn claim_without_answer_is_repeated() {
    let mut election = standby();
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(Some(CLAIM), election.next(0, false, false));
    election.record_claim_result(0, ClaimResult::Unanswered);
    election.observe_owner(ObservedOwner::Own(5));
    let again = ElectionStep::Claim { replacing: Some(5) };
    assert_eq!(Some(again), election.next(CLAIM_RETRY_MS, false, false));
}

#[test]
fn restarted_owner_claims_the_pool_before_the_lease_of_its_earlier_run_ends() {
    for epoch in 4..6 {
        let mut election = standby();
        election.observe_owner(ObservedOwner::Own(epoch));
        assert_eq!(Some(ElectionStep::Claim { replacing: Some(epoch) }), election.next(0, false, false));
    }
}

#[test]
fn draining_aggregator_does_not_claim() {
    let mut election = standby();
    election.drain();
    election.observe_owner(ObservedOwner::Nobody);
    assert_eq!(None, election.next(0, false, false));
}

/// How long an owner must be lost before it is replaced.
const CONFIRMED_AFTER_MS: u64 = 200;

/// Returns what the standby `name` of the owner `o` does after the owner is lost for this long.
fn replaces(name: &str, pool_hash: u64, lost_for_ms: u64) -> Option<ElectionStep> {
    let mut election = election(name, pool_hash);
    election.set_candidates(0, ["a", "b", "o"].map(str::to_owned).to_vec());
    election.observe_owner(other(4));
    assert_eq!(Some(4), election.other_epoch());
    election.record_lost_owner(1_000, Some(4));
    election.next(1_000 + lost_for_ms, false, false)
}

#[test]
fn lost_owner_is_replaced_by_the_preferred_standby_first() {
    for pool_hash in 0..16 {
        let firsts = ["a", "b"].map(|name| replaces(name, pool_hash, CONFIRMED_AFTER_MS));
        let replaced = Some(ElectionStep::Claim { replacing: Some(4) });
        assert!(firsts == [replaced, None] || firsts == [None, replaced], "{firsts:?}");
        let seconds = ["a", "b"].map(|name| replaces(name, pool_hash, CONFIRMED_AFTER_MS + YIELD_MS));
        assert_eq!([replaced, replaced], seconds);
        assert_eq!(None, replaces("a", pool_hash, CONFIRMED_AFTER_MS - 1));
    }
}

#[test]
fn owner_and_draining_standby_replace_nobody() {
    let mut election = owner();
    election.observe_owner(other(4));
    election.record_lost_owner(0, Some(4));
    assert_eq!(None, election.next(CONFIRMED_AFTER_MS, false, false));
    let mut election = standby();
    election.observe_owner(other(4));
    election.record_lost_owner(0, Some(4));
    election.drain();
    assert_eq!(None, election.next(CONFIRMED_AFTER_MS, false, false));
}

#[test]
fn standby_that_has_replaced_an_owner_waits_before_it_replaces_the_next() {
    let mut election = standby();
    election.observe_owner(other(4));
    election.record_lost_owner(0, Some(4));
    let replaced = |epoch| Some(ElectionStep::Claim { replacing: Some(epoch) });
    assert_eq!(replaced(4), election.next(CONFIRMED_AFTER_MS, false, false));
    election.record_claim_result(CONFIRMED_AFTER_MS, ClaimResult::Held(5));
    election.observe_owner(other(5));
    election.record_lost_owner(2_000, Some(5));
    assert_eq!(replaced(5), election.next(3_000, false, false), "another standby replaced the one before");
    election.record_claim_result(3_000, ClaimResult::Won { epoch: 6, is_first: false });
    election.record_step_down(3_500);
    election.observe_owner(other(7));
    election.record_lost_owner(4_000, Some(7));
    assert_eq!(None, election.next(12_900, false, false));
    assert_eq!(replaced(7), election.next(13_000, false, false));
}
