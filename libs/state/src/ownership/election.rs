//! Decides when an aggregator claims a pool and when it gives the pool up.

mod answers;
mod early_claims;

use xxhash_rust::xxh3::xxh3_64_with_seed;

pub use self::answers::{ClaimResult, ObservedOwner};
use self::early_claims::EarlyClaims;

/// How long an aggregator waits for the preferred one to claim a pool, in milliseconds.
const YIELD_MS: u64 = 300;

/// The time between two claims, in milliseconds.
const CLAIM_RETRY_MS: u64 = 500;

/// What an aggregator must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElectionStep {
    Claim {
        /// The epoch of the owner to replace although it holds its lease.
        replacing: Option<u64>,
    },
    /// Another aggregator owns the pool.
    StepDown,
    /// Hand the pool to the preferred aggregator.
    FailBack,
}

/// One aggregator's participation in the election of a pool's owner.
#[derive(Debug)]
pub(crate) struct Election {
    name: String,
    /// Gives each pool its own order of preferred aggregators.
    pool_hash: u64,
    /// How long the preferred aggregator must be alive before the owner hands it the pool, in milliseconds.
    failback_after_ms: u64,
    /// How long an outranked owner may try to claim the pool again, in milliseconds.
    lease_ttl_ms: u64,
    /// The names of the live aggregators.
    candidates: Vec<String>,
    /// The preferred aggregator, if it is another one.
    preferred: Option<Preferred>,
    observed_owner: ObservedOwner,
    vacant_since_ms: Option<u64>,
    early_claims: EarlyClaims,
    /// The claim that was not answered yet, and whether it replaces an owner that holds its lease.
    claim: Option<ClaimKind>,
    next_claim_at_ms: u64,
    /// The highest epoch under which the coordinator has reported this aggregator as the owner.
    confirmed_epoch: u64,
    /// The epoch of another owner, because of which the coordinator refused the last claim; 0 if it did not.
    refused_for: u64,
    /// Since when another process knows a higher epoch than that of this owner.
    outranked_since_ms: Option<u64>,
    is_draining: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimKind {
    Regular,
    Early,
}

#[derive(Clone, Debug)]
struct Preferred {
    name: String,
    /// When the aggregator became the preferred one, or connected since.
    since_ms: u64,
    /// Whether it follows this aggregator and is up to date.
    is_caught_up: bool,
    /// Whether the pool was already handed to it.
    was_offered: bool,
}

impl Preferred {
    fn new(name: String, since_ms: u64) -> Self {
        Self { name, since_ms, is_caught_up: false, was_offered: false }
    }
}

impl Election {
    /// Creates the participation of the aggregator `name`, whose lease lasts `lease_ttl_ms`, in the election for the pool
    /// with this hash.
    pub(crate) fn new(name: String, pool_hash: u64, failback_after_ms: u64, lease_ttl_ms: u64) -> Self {
        Self {
            name,
            pool_hash,
            failback_after_ms,
            lease_ttl_ms,
            candidates: Vec::new(),
            preferred: None,
            observed_owner: ObservedOwner::Unknown,
            vacant_since_ms: None,
            early_claims: EarlyClaims::default(),
            claim: None,
            next_claim_at_ms: 0,
            confirmed_epoch: 0,
            refused_for: 0,
            outranked_since_ms: None,
            is_draining: false,
        }
    }

    /// Stops participating: this aggregator must not own the pool any more.
    pub(crate) fn drain(&mut self) {
        self.is_draining = true;
    }

    /// Returns whether the aggregator has stopped participating.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Sets the names of the live aggregators.
    pub(crate) fn set_candidates(&mut self, now_ms: u64, names: Vec<String>) {
        self.candidates = names;
        let first = self.most_preferred(None).filter(|first| **first != self.name);
        if first != self.preferred.as_ref().map(|preferred| &preferred.name) {
            self.preferred = first.map(|name| Preferred::new(name.clone(), now_ms));
        }
    }

    /// Records that the aggregator `name` connected to this one. It may have restarted before its lease
    /// ended.
    pub(crate) fn record_join(&mut self, now_ms: u64, name: &str) {
        if let Some(preferred) = self.preferred.as_mut().filter(|preferred| preferred.name == name) {
            *preferred = Preferred::new(name.to_owned(), now_ms);
        }
    }

    /// Returns the name of the preferred aggregator, if it is another one.
    pub(crate) fn preferred(&self) -> Option<&str> {
        self.preferred.as_ref().map(|preferred| preferred.name.as_str())
    }

    /// Sets whether the preferred aggregator is up to date, so that it could take over at once.
    pub(crate) fn set_preferred_caught_up(&mut self, is_caught_up: bool) {
        if let Some(preferred) = &mut self.preferred {
            preferred.is_caught_up = is_caught_up;
        }
    }

    /// Records the owner that the coordinator reports.
    pub(crate) fn observe_owner(&mut self, observed_owner: ObservedOwner) {
        if let ObservedOwner::Own(epoch) = observed_owner {
            self.confirmed_epoch = self.confirmed_epoch.max(epoch);
        }
        self.observed_owner = observed_owner;
    }

    /// Returns the epoch of another aggregator that holds the pool's lease.
    pub(crate) fn other_epoch(&self) -> Option<u64> {
        match self.observed_owner {
            ObservedOwner::Other { epoch, .. } => Some(epoch),
            _ => None,
        }
    }

    /// Records the epoch of the owner that holds the pool's lease if neither this aggregator nor its
    /// followers hear it.
    pub(crate) fn record_lost_owner(&mut self, now_ms: u64, epoch: Option<u64>) {
        self.early_claims.record_lost_owner(now_ms, epoch);
    }

    /// Records whether this aggregator, as the owner, knows of a later one.
    pub(crate) fn record_outranked(&mut self, now_ms: u64, is_outranked: bool) {
        self.outranked_since_ms = is_outranked.then(|| self.outranked_since_ms.unwrap_or(now_ms));
    }

    /// Returns whether this owner has known of a later one for too long: its claims are not answered, so it may be cut
    /// off from the coordinator, and from the later owner.
    fn is_outranked_for_good(&self, now_ms: u64) -> bool {
        let is_over = |since_ms| now_ms >= since_ms + self.lease_ttl_ms;
        self.outranked_since_ms.is_some_and(is_over)
    }

    /// Records that this aggregator no longer owns the pool.
    pub(crate) fn record_step_down(&mut self, now_ms: u64) {
        self.outranked_since_ms = None;
        (self.vacant_since_ms, self.refused_for) = (None, 0);
        self.next_claim_at_ms = now_ms + CLAIM_RETRY_MS;
    }

    /// Records the answer to a claim.
    pub(crate) fn record_claim_result(&mut self, now_ms: u64, result: ClaimResult) {
        let claim = self.claim.take();
        self.next_claim_at_ms = now_ms + CLAIM_RETRY_MS;
        match result {
            ClaimResult::Won { .. } => {
                if claim == Some(ClaimKind::Early) {
                    self.early_claims.record_takeover(now_ms);
                }
                self.refused_for = 0;
            }
            ClaimResult::Held(other) => self.refused_for = other,
            ClaimResult::Unanswered => {}
        }
    }

    /// Returns what to do at `now_ms`. `own_epoch`: the epoch of this aggregator's claim, if it owns the pool or takes
    /// it over. `sees_owner`: another aggregator sends messages as the owner. `needs_later_epoch`: this owner cannot
    /// continue under its epoch.
    pub(crate) fn next(
        &mut self,
        now_ms: u64,
        own_epoch: Option<u64>,
        sees_owner: bool,
        needs_later_epoch: bool,
    ) -> Option<ElectionStep> {
        if self.is_draining {
            return None;
        }
        if !needs_later_epoch && own_epoch.is_some_and(|own| self.should_fail_back(now_ms, own)) {
            return Some(ElectionStep::FailBack);
        }
        let lost = self.replaceable(now_ms);
        let replacing = match (own_epoch, &self.observed_owner) {
            // An earlier run of this aggregator, or an earlier claim whose answer got lost.
            (None, ObservedOwner::Own(epoch)) => Some(*epoch),
            (None, _) => lost,
            (Some(_), _) => None,
        };
        let wanted = match own_epoch {
            Some(own) if self.refused_for > own || self.is_outranked_for_good(now_ms) => {
                return Some(ElectionStep::StepDown);
            }
            Some(own) => match self.observed_owner {
                ObservedOwner::Other { epoch: other, .. } if other > own => {
                    return Some(ElectionStep::StepDown);
                }
                // The lease is lost but the pool was not taken.
                ObservedOwner::Nobody if self.confirmed_epoch >= own => true,
                _ => needs_later_epoch,
            },
            None => replacing.is_some() || self.is_vacant(now_ms, sees_owner),
        };
        if !wanted || self.claim.is_some() || now_ms < self.next_claim_at_ms {
            return None;
        }
        self.claim = Some(if lost.is_some() { ClaimKind::Early } else { ClaimKind::Regular });
        Some(ElectionStep::Claim { replacing })
    }

    /// Returns whether to hand the pool to the preferred aggregator. This happens once only: an aggregator
    /// that does not take the pool cannot, and would not the next time either.
    fn should_fail_back(&mut self, now_ms: u64, own_epoch: u64) -> bool {
        let is_sure = self.observed_owner == ObservedOwner::Own(own_epoch) && self.claim.is_none();
        let after_ms = self.failback_after_ms;
        let Some(preferred) = &mut self.preferred else { return false };
        let is_ready = preferred.is_caught_up && now_ms >= preferred.since_ms + after_ms;
        if !is_sure || !is_ready || preferred.was_offered {
            return false;
        }
        preferred.was_offered = true;
        true
    }

    /// Returns whether to claim the pool as vacant. An owner is gone only when its lease is lost and its
    /// stream is down.
    fn is_vacant(&mut self, now_ms: u64, sees_owner: bool) -> bool {
        if self.observed_owner != ObservedOwner::Nobody || sees_owner {
            self.vacant_since_ms = None;
            return false;
        }
        let since_ms = *self.vacant_since_ms.get_or_insert(now_ms);
        let delay_ms = if self.preferred.is_none() { 0 } else { YIELD_MS };
        now_ms >= since_ms + delay_ms
    }

    /// Returns the epoch of the owner to replace although it holds its lease, if there is one.
    fn replaceable(&self, now_ms: u64) -> Option<u64> {
        let ObservedOwner::Other { name, .. } = &self.observed_owner else { return None };
        let is_first = self.most_preferred(Some(name)).is_none_or(|first| *first == self.name);
        self.early_claims.replaceable(now_ms, if is_first { 0 } else { YIELD_MS })
    }

    /// Returns the preferred aggregator, by rendezvous hashing over the live ones `except` one, so that pools
    /// spread over them.
    fn most_preferred(&self, except: Option<&str>) -> Option<&String> {
        let candidates = self.candidates.iter().filter(|name| Some(name.as_str()) != except);
        candidates.max_by_key(|name| (xxh3_64_with_seed(name.as_bytes(), self.pool_hash), *name))
    }
}

#[cfg(test)]
mod tests;
