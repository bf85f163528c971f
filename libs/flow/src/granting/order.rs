//! In which order the flows of a band go during one run of the granter.

use super::candidate::Candidate;
use super::shares::BandShares;
use crate::policies::Fairness;

/// Weights of `program-aware-fairness`.
const ATTAINED_WEIGHT: f64 = 0.8;
const WAIT_WEIGHT: f64 = 0.2;

/// By what the flows of a band are ordered during one run of the granter.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// By the start of the next request in virtual time.
    Weighted,
    /// By the wait of the next request.
    Strict,
    /// By name, in turn.
    RoundRobin,
    /// By what the flows got and by the wait of the next request, relative to the most at the start of the run.
    ProgramAware {
        /// The most tokens that one of the flows got lately, at least 1.
        most_attained: f64,
        /// The longest wait, at least 1.
        longest_wait_ms: f64,
        /// When the run started.
        now_ms: u64,
    },
}

impl BandShares {
    /// Returns by what `candidates` are ordered during one run of the granter.
    pub(super) fn order<'a>(
        &self,
        fairness: Fairness,
        candidates: impl Iterator<Item = &'a Candidate>,
        now_ms: u64,
    ) -> Order {
        match fairness {
            Fairness::Weighted => Order::Weighted,
            Fairness::Strict => Order::Strict,
            Fairness::RoundRobin => Order::RoundRobin,
            Fairness::ProgramAware => {
                let (mut most_attained, mut longest_wait_ms) = (1.0, 1.0);
                for candidate in candidates {
                    most_attained = self.attained(&candidate.id, now_ms).max(most_attained);
                    longest_wait_ms = candidate.waited_ms(now_ms).max(longest_wait_ms);
                }
                Order::ProgramAware { most_attained, longest_wait_ms, now_ms }
            }
        }
    }

    /// Returns the key of `candidate`: the least goes first, and of equal ones the first by name. A grant changes the key of its
    /// own flow only. In particular, virtual time passes only up to the start of the flow that goes next, before which no
    /// other one starts.
    pub(super) fn key(&self, order: Order, candidate: &Candidate) -> (u64, u64) {
        match order {
            Order::Weighted => (self.start(&candidate.id), candidate.head_ms),
            Order::Strict => (candidate.head_ms, 0),
            Order::RoundRobin => {
                let is_after = self.latest.as_ref().is_none_or(|latest| candidate.id > *latest);
                (u64::from(!is_after), 0)
            }
            Order::ProgramAware { most_attained, longest_wait_ms, now_ms } => {
                let attained = self.attained(&candidate.id, now_ms) / most_attained;
                let waited = candidate.waited_ms(now_ms) / longest_wait_ms;
                let cost = ATTAINED_WEIGHT * attained + WAIT_WEIGHT * (1.0 - waited);
                // The bits of numbers that are not negative are in the order of the numbers.
                (cost.max(0.0).to_bits(), 0)
            }
        }
    }
}
