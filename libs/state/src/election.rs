//! When an aggregator claims a pool, and when it gives one up.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One that is not the first in line for a pool leaves the first so much time.
const GIVE_WAY_MS: u64 = 300;

/// A claim that came to nothing is made again after so long.
const CLAIM_AGAIN_MS: u64 = 500;

/// What the coordinator says of a pool's owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ObservedOwner {
    /// It was never heard.
    #[default]
    Unknown,
    /// Nobody owns the pool.
    Nobody,
    /// This aggregator does, under this epoch.
    Own(u64),
    /// Another one does.
    Other(u64),
}

/// What came of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimResult {
    /// The pool is this aggregator's.
    Won {
        /// Under this epoch.
        epoch: u64,
        /// Whether it surely has no history: nobody ever owned it.
        is_first: bool,
    },
    /// It is another one's, under this epoch.
    Held(u64),
    /// The coordinator did not answer.
    Unanswered,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElectionStep {
    Claim,
    /// Another one owns the pool.
    StepDown,
    /// Another one shall own it.
    GiveBack,
}

/// One aggregator's part in choosing a pool's owner.
#[derive(Debug)]
pub(crate) struct Election {
    name: String,
    /// Makes each pool have another order of aggregators.
    pool_hash: u64,
    /// An owner leaves the pool to the aggregator that is first in line when that has lived for so long.
    give_back_after_ms: u64,
    /// Names of the aggregators that live.
    candidates: Vec<String>,
    /// Another one that is first in line.
    preferred: Option<Preferred>,
    seen: ObservedOwner,
    nobody_since_ms: Option<u64>,
    claiming: bool,
    not_before_ms: u64,
    /// The epoch under which this one owns the pool, and whether the coordinator has been seen to say so.
    owns: Option<(u64, bool)>,
    outranked_by: Option<u64>,
    /// The coordinator has refused a claim of this owner's: another one has the pool.
    is_beaten: bool,
    draining: bool,
}

#[derive(Clone, Debug)]
struct Preferred {
    name: String,
    /// When it came to be first.
    since_ms: u64,
    /// Whether it follows this aggregator and lacks nothing.
    is_warm: bool,
    /// Whether it was left the pool since.
    had_its_turn: bool,
}

impl Election {
    /// The part of the aggregator called `name` for the pool with this hash.
    pub(crate) fn new(name: String, pool_hash: u64, give_back_after_ms: u64) -> Self {
        Self {
            name,
            pool_hash,
            give_back_after_ms,
            candidates: Vec::new(),
            preferred: None,
            seen: ObservedOwner::Unknown,
            nobody_since_ms: None,
            claiming: false,
            not_before_ms: 0,
            owns: None,
            outranked_by: None,
            is_beaten: false,
            draining: false,
        }
    }

    /// This one wants no pool any more.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
    }

    /// Whether it wants none.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining
    }

    /// These aggregators live.
    pub(crate) fn candidates(&mut self, now_ms: u64, names: Vec<String>) {
        self.candidates = names;
        let first = self.first_in_line().filter(|first| **first != self.name);
        if first != self.preferred.as_ref().map(|preferred| &preferred.name) {
            let preferred = |name: &String| Preferred {
                name: name.clone(),
                since_ms: now_ms,
                is_warm: false,
                had_its_turn: false,
            };
            self.preferred = first.map(preferred);
        }
    }

    /// Another one that is first in line, if it is another one.
    pub(crate) fn preferred(&self) -> Option<&str> {
        self.preferred.as_ref().map(|preferred| preferred.name.as_str())
    }

    /// Whether the one that is first in line could go on at once.
    pub(crate) fn preferred_is_warm(&mut self, is_warm: bool) {
        if let Some(preferred) = &mut self.preferred {
            preferred.is_warm = is_warm;
        }
    }

    /// The coordinator says who owns the pool.
    pub(crate) fn seen(&mut self, seen: ObservedOwner) {
        self.seen = seen;
        if let (ObservedOwner::Own(epoch), Some((own, confirmed))) = (seen, &mut self.owns) {
            *confirmed |= epoch >= *own;
        }
    }

    /// Somebody knows of an epoch above this owner's.
    pub(crate) fn outranked(&mut self, epoch: u64) {
        self.outranked_by = self.outranked_by.max(Some(epoch));
    }

    /// This one owns the pool no more.
    pub(crate) fn stepped_down(&mut self, now_ms: u64) {
        (self.owns, self.outranked_by, self.nobody_since_ms, self.is_beaten) = (None, None, None, false);
        self.not_before_ms = now_ms + CLAIM_AGAIN_MS;
    }

    /// A claim was answered.
    pub(crate) fn claimed(&mut self, now_ms: u64, claimed: ClaimResult) {
        self.claiming = false;
        self.not_before_ms = now_ms + CLAIM_AGAIN_MS;
        match claimed {
            ClaimResult::Won { epoch, .. } => {
                self.owns = Some((epoch, self.seen == ObservedOwner::Own(epoch)));
                self.outranked_by = self.outranked_by.filter(|heard| *heard > epoch);
            }
            ClaimResult::Held(other) => self.is_beaten |= self.owns.is_some_and(|(epoch, _)| other > epoch),
            ClaimResult::Unanswered => {}
        }
    }

    /// What to do at `now_ms`. `hears_owner`: the stream to an owner lives.
    pub(crate) fn next(&mut self, now_ms: u64, hears_owner: bool) -> Option<ElectionStep> {
        if self.draining {
            return None;
        }
        if self.is_to_give_back(now_ms) {
            return Some(ElectionStep::GiveBack);
        }
        let wanted = match self.owns {
            Some(_) if self.is_beaten => return Some(ElectionStep::StepDown),
            Some((epoch, confirmed)) => match self.seen {
                ObservedOwner::Other(other) if other > epoch => return Some(ElectionStep::StepDown),
                // The lease is lost, but nobody has taken the pool; or somebody remembers an epoch that is none any more.
                ObservedOwner::Nobody if confirmed => true,
                _ => self.outranked_by.is_some(),
            },
            // A claim was granted, but the answer got lost.
            None if matches!(self.seen, ObservedOwner::Own(_)) => true,
            None => self.is_vacant(now_ms, hears_owner),
        };
        if !wanted || self.claiming || now_ms < self.not_before_ms {
            return None;
        }
        self.claiming = true;
        Some(ElectionStep::Claim)
    }

    /// Once only: one that does not take the pool then cannot, and would not the next time.
    fn is_to_give_back(&mut self, now_ms: u64) -> bool {
        let is_sure = self.owns.is_some_and(|(epoch, _)| self.seen == ObservedOwner::Own(epoch))
            && !self.claiming
            && self.outranked_by.is_none();
        let after_ms = self.give_back_after_ms;
        let Some(preferred) = &mut self.preferred else { return false };
        let is_ready = preferred.is_warm && now_ms >= preferred.since_ms + after_ms;
        if !is_sure || !is_ready || preferred.had_its_turn {
            return false;
        }
        preferred.had_its_turn = true;
        true
    }

    /// A member is dead only when its lease is gone and its stream is down.
    fn is_vacant(&mut self, now_ms: u64, hears_owner: bool) -> bool {
        if self.seen != ObservedOwner::Nobody || hears_owner {
            self.nobody_since_ms = None;
            return false;
        }
        let since_ms = *self.nobody_since_ms.get_or_insert(now_ms);
        let delay_ms = if self.preferred.is_none() { 0 } else { GIVE_WAY_MS };
        now_ms >= since_ms + delay_ms
    }

    /// By rendezvous hashing over the aggregators that live, so that pools spread over them.
    fn first_in_line(&self) -> Option<&String> {
        self.candidates.iter().max_by_key(|name| (xxh3_64_with_seed(name.as_bytes(), self.pool_hash), *name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVE_BACK_AFTER_MS: u64 = 30_000;
    const WON: ClaimResult = ClaimResult::Won { epoch: 5, is_first: false };

    fn standby() -> Election {
        let mut election = Election::new("a".to_owned(), 0, GIVE_BACK_AFTER_MS);
        election.candidates(0, vec!["a".to_owned()]);
        election
    }

    fn owner() -> Election {
        let mut election = standby();
        election.seen(ObservedOwner::Nobody);
        assert_eq!(Some(ElectionStep::Claim), election.next(0, false));
        election.claimed(0, WON);
        election.seen(ObservedOwner::Own(5));
        election
    }

    #[test]
    fn a_pool_is_claimed_when_its_lease_is_gone_and_its_owner_silent() {
        let mut election = standby();
        assert_eq!(None, election.next(0, false));
        election.seen(ObservedOwner::Other(4));
        assert_eq!(None, election.next(0, false));
        election.seen(ObservedOwner::Nobody);
        assert_eq!(None, election.next(0, true));
        assert_eq!(Some(ElectionStep::Claim), election.next(0, false));
        assert_eq!(None, election.next(10_000, false), "one claim at a time");
    }

    #[test]
    fn one_in_line_goes_first_and_another_does_not_wait_for_it_for_long() {
        let names = || vec!["a".to_owned(), "b".to_owned()];
        let first_moves = |name: &str, pool_hash| {
            let mut election = Election::new(name.to_owned(), pool_hash, GIVE_BACK_AFTER_MS);
            election.candidates(0, names());
            election.seen(ObservedOwner::Nobody);
            [0, GIVE_WAY_MS].map(|now_ms| election.next(now_ms, false))
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

    /// An owner, and the name of one that is before it in line.
    fn owner_and_preferred() -> (Election, String) {
        let is_preferred = |name: &String| {
            let mut election = standby();
            election.candidates(0, vec!["a".to_owned(), name.clone()]);
            election.preferred.is_some()
        };
        let preferred = (0..).map(|number| format!("b{number}")).find(is_preferred).unwrap();
        (owner(), preferred)
    }

    #[test]
    fn an_owner_leaves_the_pool_to_one_that_comes_first_and_has_stayed() {
        let (mut election, preferred) = owner_and_preferred();
        let both = || vec!["a".to_owned(), preferred.clone()];
        election.candidates(1_000, both());
        election.preferred_is_warm(true);
        assert_eq!(None, election.next(1_000 + GIVE_BACK_AFTER_MS - 1, false));
        election.candidates(20_000, vec!["a".to_owned()]);
        assert_eq!(None, election.next(1_000 + GIVE_BACK_AFTER_MS, false), "it did not stay");
        election.candidates(40_000, both());
        assert_eq!(None, election.next(40_000 + GIVE_BACK_AFTER_MS, false), "it holds nothing yet");
        election.candidates(50_000, both());
        election.preferred_is_warm(true);
        assert_eq!(Some(ElectionStep::GiveBack), election.next(40_000 + GIVE_BACK_AFTER_MS, false));
    }

    #[test]
    fn an_owner_leaves_the_pool_once_to_one_that_does_not_take_it() {
        let (mut election, preferred) = owner_and_preferred();
        let both = || vec!["a".to_owned(), preferred.clone()];
        election.candidates(0, both());
        election.preferred_is_warm(true);
        assert_eq!(Some(ElectionStep::GiveBack), election.next(40_000, false));
        election.stepped_down(40_000);
        election.seen(ObservedOwner::Nobody);
        assert_eq!(None, election.next(40_000, false));
        assert_eq!(Some(ElectionStep::Claim), election.next(40_000 + CLAIM_AGAIN_MS, false));
        election.claimed(41_000, ClaimResult::Won { epoch: 6, is_first: false });
        election.seen(ObservedOwner::Own(6));
        election.candidates(42_000, both());
        assert_eq!(None, election.next(200_000, false));
        election.candidates(200_000, vec!["a".to_owned()]);
        election.candidates(201_000, both());
        election.preferred_is_warm(true);
        assert_eq!(Some(ElectionStep::GiveBack), election.next(240_000, false), "it is another life");
    }

    #[test]
    fn an_owner_in_doubt_keeps_the_pool() {
        let (mut election, preferred) = owner_and_preferred();
        election.candidates(0, vec!["a".to_owned(), preferred]);
        election.preferred_is_warm(true);
        election.seen(ObservedOwner::Unknown);
        assert_eq!(None, election.next(40_000, false));
        election.seen(ObservedOwner::Own(5));
        election.outranked(9);
        assert_eq!(Some(ElectionStep::Claim), election.next(40_000, false));
        assert_eq!(None, election.next(40_000, false));
    }

    #[test]
    fn an_owner_steps_down_for_one_with_a_later_epoch() {
        let mut election = owner();
        election.seen(ObservedOwner::Other(4));
        assert_eq!(None, election.next(1_000, false));
        election.seen(ObservedOwner::Other(6));
        assert_eq!(Some(ElectionStep::StepDown), election.next(1_000, false));
        election.stepped_down(1_000);
        assert_eq!(None, election.next(9_000, false));
    }

    #[test]
    fn an_owner_that_is_outranked_claims_again_and_steps_down_when_it_may_not() {
        let mut election = owner();
        election.outranked(9);
        assert_eq!(None, election.next(CLAIM_AGAIN_MS - 1, false));
        assert_eq!(Some(ElectionStep::Claim), election.next(CLAIM_AGAIN_MS, false));
        election.claimed(CLAIM_AGAIN_MS, ClaimResult::Unanswered);
        assert_eq!(Some(ElectionStep::Claim), election.next(2 * CLAIM_AGAIN_MS, false));
        election.claimed(2 * CLAIM_AGAIN_MS, ClaimResult::Held(9));
        assert_eq!(Some(ElectionStep::StepDown), election.next(2 * CLAIM_AGAIN_MS, false));
    }

    #[test]
    fn an_owner_that_is_outranked_by_nobody_goes_on_under_a_later_epoch() {
        let mut election = owner();
        election.outranked(9);
        assert_eq!(Some(ElectionStep::Claim), election.next(CLAIM_AGAIN_MS, false));
        election.claimed(CLAIM_AGAIN_MS, ClaimResult::Won { epoch: 10, is_first: false });
        assert_eq!(None, election.next(9_000, false));
    }

    #[test]
    fn an_owner_whose_lease_is_lost_claims_again() {
        let mut election = owner();
        assert_eq!(None, election.next(1_000, false));
        election.seen(ObservedOwner::Nobody);
        assert_eq!(Some(ElectionStep::Claim), election.next(1_000, false));
    }

    #[test]
    fn a_claim_whose_answer_is_lost_is_made_again() {
        let mut election = standby();
        election.seen(ObservedOwner::Nobody);
        assert_eq!(Some(ElectionStep::Claim), election.next(0, false));
        election.claimed(0, ClaimResult::Unanswered);
        election.seen(ObservedOwner::Own(5));
        assert_eq!(Some(ElectionStep::Claim), election.next(CLAIM_AGAIN_MS, false));
    }

    #[test]
    fn one_that_drains_claims_nothing() {
        let mut election = standby();
        election.drain();
        election.seen(ObservedOwner::Nobody);
        assert_eq!(None, election.next(0, false));
    }
}
