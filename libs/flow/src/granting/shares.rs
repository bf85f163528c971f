//! What the flows of a band got, and which goes next.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::candidate::Candidate;
use super::credit::Credit;
use crate::policies::Fairness;

/// Virtual time per token of a flow with weight 1: so much that rounding by the weight does not add up.
const VIRTUAL_PER_TOKEN: u64 = 1 << 20;

/// Half-life of the service that `program-aware-fairness` counts, in milliseconds.
const ATTAINED_HALF_LIFE_MS: f64 = 60_000.0;

/// What the flows of a band got, and what the band has saved of its minimum share. Another granter that has the same goes on
/// in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BandShares {
    /// The start of the latest grant in virtual time, which passes as tokens are granted.
    pub virtual_time: u64,
    /// The flow of the latest grant.
    pub latest: Option<Arc<str>>,
    /// What the band may take before higher bands.
    pub credit: Credit,
    /// What each flow got.
    pub served: BTreeMap<Arc<str>, Served>,
}

/// What a flow got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The end of the flow's latest grant in virtual time.
    pub finish: u64,
    /// Thousandths of tokens, each of which counts half after a minute.
    pub attained_milli: u64,
    /// When they were counted, in milliseconds of the granter's clock.
    pub attained_at_ms: u64,
}

impl Served {
    fn attained(&self, now_ms: u64) -> f64 {
        let since_ms = now_ms.saturating_sub(self.attained_at_ms) as f64;
        self.attained_milli as f64 / 1e3 * (-since_ms / ATTAINED_HALF_LIFE_MS).exp2()
    }
}

impl BandShares {
    /// The maximum number of flows of a band of which it is known what they got.
    pub const MAX_SERVED: usize = 4_096;

    /// Returns what has changed since `before`: everything but the flows that are the same. A flow that is gone has the default
    /// value. Returns `None` if nothing has changed.
    pub fn changes_since(&self, before: &Self) -> Option<Self> {
        let is_new = |(id, served): &(&Arc<str>, &Served)| before.served.get(*id) != Some(*served);
        let new = self.served.iter().filter(is_new).map(|(id, served)| (Arc::clone(id), *served));
        let gone = before.served.keys().filter(|id| !self.served.contains_key(*id));
        let gone = gone.map(|id| (Arc::clone(id), Served::default()));
        let changes = Self {
            virtual_time: self.virtual_time,
            latest: self.latest.clone(),
            credit: self.credit,
            served: new.chain(gone).collect(),
        };
        let head = |of: &Self| (of.virtual_time, of.latest.clone(), of.credit);
        (!changes.served.is_empty() || head(self) != head(before)).then_some(changes)
    }

    /// Records that a request of `candidate` was granted.
    pub(super) fn record(&mut self, candidate: &Candidate, now_ms: u64) {
        let start = self.start(&candidate.id);
        let length = virtual_length(candidate.tokens, candidate.weight);
        let served = self.served.entry(Arc::clone(&candidate.id)).or_default();
        let attained = served.attained(now_ms) + candidate.tokens as f64;
        let attained_milli = (attained * 1e3) as u64;
        *served = Served { finish: start.saturating_add(length), attained_milli, attained_at_ms: now_ms };
        self.virtual_time = self.virtual_time.max(start);
        self.latest = Some(Arc::clone(&candidate.id));
    }

    /// Lets the next request of a flow start later in virtual time, as if the flow had got so many tokens more.
    pub(super) fn postpone(&mut self, id: &Arc<str>, tokens: u64, weight: u32) {
        let finish = self.start(id).saturating_add(virtual_length(tokens, weight));
        self.served.entry(Arc::clone(id)).or_default().finish = finish;
    }

    /// Forgets flows that do not wait and have no claim. A claim ends when what the flow got counts less than a token, which does
    /// not depend on virtual time: that stands still while nothing is granted. Weighted flows have none either once virtual
    /// time has passed what they got.
    pub(super) fn forget_idle(&mut self, fairness: Fairness, waits: impl Fn(&str) -> bool, now_ms: u64) {
        let virtual_time = self.virtual_time;
        let is_past = |served: &Served| fairness == Fairness::Weighted && served.finish <= virtual_time;
        let has_claim = |served: &Served| !is_past(served) && served.attained(now_ms) >= 1.0;
        self.served.retain(|id, served| waits(id) || has_claim(served));
    }

    /// Forgets the flows that got the least, if more than [`Self::MAX_SERVED`] are known. Virtual time passes up to what they
    /// got, so that they have not gained anything.
    pub(super) fn limit(&mut self) {
        let surplus = self.served.len().saturating_sub(Self::MAX_SERVED);
        if surplus == 0 {
            return;
        }
        let mut finishes: Vec<_> = self.served.iter().map(|(id, of)| (of.finish, Arc::clone(id))).collect();
        finishes.sort_unstable();
        for (finish, id) in finishes.into_iter().take(surplus) {
            self.served.remove(&id);
            self.virtual_time = self.virtual_time.max(finish);
        }
    }

    /// Returns whether no flow is known.
    pub(super) fn is_empty(&self) -> bool {
        self.served.is_empty()
    }

    /// Returns when the next request of a flow starts in virtual time. A flow that did not wait has saved nothing.
    pub(super) fn start(&self, id: &str) -> u64 {
        self.served.get(id).map_or(0, |served| served.finish).max(self.virtual_time)
    }

    /// Returns the tokens that a flow got lately.
    pub(super) fn attained(&self, id: &str, now_ms: u64) -> f64 {
        self.served.get(id).map_or(0.0, |served| served.attained(now_ms))
    }
}

/// Returns for how long in virtual time a flow has its share with so many tokens.
fn virtual_length(tokens: u64, weight: u32) -> u64 {
    tokens.saturating_mul(VIRTUAL_PER_TOKEN) / u64::from(weight.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(id: &str, head_ms: u64, tokens: u64, weight: u32) -> Candidate {
        Candidate { id: id.into(), head_ms, tokens, weight }
    }

    /// Returns the position of the candidate that goes next.
    fn next(shares: &BandShares, fairness: Fairness, candidates: &[Candidate], now_ms: u64) -> usize {
        let order = shares.order(fairness, candidates.iter(), now_ms);
        let keys = candidates.iter().map(|of| shares.key(order, of)).enumerate();
        keys.min_by_key(|(_, key)| *key).expect("there are candidates").0
    }

    /// Grants 600 requests and returns the tokens of each candidate.
    fn served(fairness: Fairness, candidates: &[Candidate]) -> Vec<u64> {
        let (mut shares, mut tokens) = (BandShares::default(), vec![0; candidates.len()]);
        for now_ms in 1_000..1_600 {
            let at = next(&shares, fairness, candidates, now_ms);
            tokens[at] += candidates[at].tokens;
            shares.record(&candidates[at], now_ms);
        }
        tokens
    }

    #[test]
    fn tokens_are_shared_by_weight_whatever_the_length_of_requests() {
        let flows = [candidate("a", 0, 100, 1), candidate("b", 0, 1_000, 1), candidate("c", 0, 100, 2)];
        let tokens = served(Fairness::Weighted, &flows);
        assert!(tokens[0].abs_diff(tokens[1]) <= 1_000, "{tokens:?}");
        assert!((2 * tokens[0]).abs_diff(tokens[2]) <= 1_000, "{tokens:?}");
    }

    #[test]
    fn go_policies_follow_their_rules() {
        let flows = [candidate("a", 5, 100, 1), candidate("b", 3, 1_000, 1), candidate("c", 4, 100, 9)];
        assert_eq!(vec![0, 600_000, 0], served(Fairness::Strict, &flows));
        assert_eq!(vec![20_000, 200_000, 20_000], served(Fairness::RoundRobin, &flows));
        let tokens = served(Fairness::ProgramAware, &flows);
        assert!(
            tokens[1].abs_diff(tokens[0]) <= 1_000 && tokens[1].abs_diff(tokens[2]) <= 1_000,
            "{tokens:?}"
        );
    }

    #[test]
    fn flow_that_did_not_wait_has_saved_nothing() {
        let mut shares = BandShares::default();
        let (busy, late) = (candidate("busy", 0, 100, 1), candidate("late", 0, 100, 1));
        (0..50).for_each(|now_ms| shares.record(&busy, now_ms));
        let flows = [busy, late];
        let mut late_in_a_row = 0;
        while next(&shares, Fairness::Weighted, &flows, 50) == 1 {
            late_in_a_row += 1;
            shares.record(&flows[1], 50);
        }
        assert!(late_in_a_row <= 2, "{late_in_a_row}");
    }

    #[test]
    fn idle_flows_are_forgotten() {
        let mut shares = BandShares::default();
        (0..10).for_each(|at| shares.record(&candidate(&at.to_string(), 0, 5, 1), 0));
        shares.forget_idle(Fairness::ProgramAware, |_| false, 60_000);
        assert_eq!(10, shares.served.len(), "what they got counts half");
        shares.forget_idle(Fairness::ProgramAware, |id| id == "3", 3_600_000);
        assert_eq!(vec!["3"], shares.served.keys().map(AsRef::as_ref).collect::<Vec<&str>>());
        shares.forget_idle(Fairness::ProgramAware, |_| false, 3_600_000);
        assert!(shares.is_empty());
    }

    #[test]
    fn weighted_flows_are_forgotten_once_they_have_no_advantage() {
        let mut shares = BandShares::default();
        (0..10).for_each(|at| shares.record(&candidate(&at.to_string(), 0, 5, 1), 0));
        shares.forget_idle(Fairness::Weighted, |_| false, 0);
        assert_eq!(10, shares.served.len(), "another flow would go first");
        shares.virtual_time = 5 * VIRTUAL_PER_TOKEN;
        shares.forget_idle(Fairness::Weighted, |id| id == "3", 0);
        assert_eq!(vec!["3"], shares.served.keys().map(AsRef::as_ref).collect::<Vec<&str>>());
    }

    #[test]
    fn flows_beyond_the_limit_are_forgotten_without_gaining() {
        let mut shares = BandShares::default();
        let flows: Vec<_> = (1..=BandShares::MAX_SERVED as u64 + 10)
            .map(|tokens| candidate(&tokens.to_string(), 0, tokens, 1))
            .collect();
        flows.iter().for_each(|of| shares.record(of, 0));
        let starts = |shares: &BandShares| flows.iter().map(|of| shares.start(&of.id)).collect::<Vec<_>>();
        let before = starts(&shares);
        shares.limit();
        assert_eq!(
            (BandShares::MAX_SERVED, 10 * VIRTUAL_PER_TOKEN),
            (shares.served.len(), shares.virtual_time)
        );
        assert!(starts(&shares).iter().zip(before).all(|(after, before)| *after >= before));
    }

    #[test]
    fn changes_are_what_differs() {
        let (a, b, c) = (candidate("a", 0, 5, 1), candidate("b", 0, 5, 1), candidate("c", 0, 5, 1));
        let mut shares = BandShares::default();
        [&a, &b].into_iter().for_each(|of| shares.record(of, 0));
        let before = shares.clone();
        assert_eq!(None, shares.changes_since(&before));
        shares.record(&c, 10);
        shares.served.remove("a");
        let changes = shares.changes_since(&before).expect("there are changes");
        assert_eq!(vec!["a", "c"], changes.served.keys().map(AsRef::as_ref).collect::<Vec<&str>>());
        let mut after = BandShares { served: before.served, ..changes.clone() };
        after.served.extend(changes.served);
        after.served.retain(|_, served| *served != Served::default());
        assert_eq!(shares, after);
    }
}
