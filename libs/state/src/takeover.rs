//! Between a claim and the first change: what others hold of the pool's history and the heir lacks is fetched from them.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_types::Version;

/// An heir that holds the state waits so long for those that may hold more of its history.
const GATHER_MS: u64 = 200;

/// So long may pass until one that was asked has sent all.
const OFFER_DEADLINE_MS: u64 = 3_000;

/// What an heir does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeoverStep {
    Wait,
    /// Fetch what this follower holds.
    FollowerPoll(u64),
    /// There is no more to be had.
    Take,
}

/// One that has claimed a pool and gathers what is known of it.
#[derive(Debug)]
pub(crate) struct Takeover {
    pub(crate) epoch: u64,
    since_ms: u64,
    /// Until then it waits for somebody who holds something, when it holds nothing.
    patience_ms: u64,
    /// Followers that have not said yet where they stand.
    unheard: BTreeSet<u64>,
    cursors: BTreeMap<u64, Version>,
    asked: Option<(u64, u64)>,
    /// What followers are to be told when they ask next.
    unsaid: BTreeMap<u64, TakeoverMessage>,
}

/// What an heir says to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TakeoverMessage {
    /// That it does not own the pool, which is answered with a cursor.
    RoleStatus,
    /// That it wants what the follower holds.
    Asked,
}

impl Takeover {
    /// One that claimed the pool under `epoch`, while `followers` were connected. Without a state it waits for `patience_ms` for one.
    pub(crate) fn new<'a>(
        epoch: u64,
        now_ms: u64,
        patience_ms: u64,
        followers: impl IntoIterator<Item = &'a u64>,
    ) -> Self {
        let unheard: BTreeSet<u64> = followers.into_iter().copied().collect();
        let unsaid = unheard.iter().map(|follower| (*follower, TakeoverMessage::RoleStatus)).collect();
        let cursors = BTreeMap::new();
        Self { epoch, since_ms: now_ms, patience_ms, unheard, cursors, asked: None, unsaid }
    }

    /// What is to be said to a follower now, once.
    pub(crate) fn say(&mut self, follower: u64) -> Option<TakeoverMessage> {
        self.unsaid.remove(&follower)
    }

    /// Whether this follower was asked last.
    pub(crate) fn has_asked(&self, follower: u64) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == follower)
    }

    /// A follower says where it stands.
    pub(crate) fn stands(&mut self, follower: u64, version: Option<Version>) {
        self.unheard.remove(&follower);
        match version {
            Some(version) => self.cursors.insert(follower, version),
            None => self.cursors.remove(&follower),
        };
    }

    /// A follower is gone, or has offered all that it will.
    pub(crate) fn is_gone(&mut self, follower: u64) {
        self.unheard.remove(&follower);
        self.cursors.remove(&follower);
        self.asked.take_if(|(asked, _)| *asked == follower);
    }

    /// What to do at `now_ms`, holding `held`.
    pub(crate) fn next(&mut self, now_ms: u64, held: Option<Version>) -> TakeoverStep {
        self.cursors.retain(|_, version| Some(*version) > held);
        if let Some((asked, at_ms)) = self.asked {
            // Not only until nothing is lacking: the beat that ends an offer tells the clock that all is dated by.
            if now_ms.saturating_sub(at_ms) < OFFER_DEADLINE_MS {
                return TakeoverStep::Wait;
            }
            self.is_gone(asked);
        }
        let waited_ms = now_ms.saturating_sub(self.since_ms);
        let have_all_spoken = self.unheard.is_empty() || waited_ms >= GATHER_MS;
        let best = self.cursors.iter().max_by_key(|(_, version)| **version).map(|(follower, _)| *follower);
        match best {
            Some(follower) if have_all_spoken => {
                self.asked = Some((follower, now_ms));
                self.unsaid.insert(follower, TakeoverMessage::Asked);
                TakeoverStep::FollowerPoll(follower)
            }
            Some(_) => TakeoverStep::Wait,
            None if held.is_some() && have_all_spoken => TakeoverStep::Take,
            None if held.is_none() && waited_ms >= self.patience_ms => TakeoverStep::Take,
            None => TakeoverStep::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(epoch: u64, seq: u64) -> Option<Version> {
        Some(Version { epoch, seq })
    }

    #[test]
    fn one_that_holds_the_longest_history_takes_over_as_soon_as_all_have_spoken() {
        let mut takeover = Takeover::new(2, 0, 2_000, &BTreeSet::from([1, 2]));
        takeover.stands(1, at(1, 9));
        assert_eq!(TakeoverStep::Wait, takeover.next(10, at(1, 10)));
        takeover.stands(2, None);
        assert_eq!(TakeoverStep::Take, takeover.next(10, at(1, 10)));
    }

    #[test]
    fn it_does_not_wait_for_the_silent_for_long() {
        let mut takeover = Takeover::new(2, 0, 2_000, &BTreeSet::from([1]));
        assert_eq!(TakeoverStep::Wait, takeover.next(GATHER_MS - 1, at(1, 10)));
        assert_eq!(TakeoverStep::Take, takeover.next(GATHER_MS, at(1, 10)));
    }

    #[test]
    fn the_highest_version_is_asked_for_first_and_others_when_it_does_not_come() {
        let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1, 2]));
        takeover.stands(1, at(1, 90));
        takeover.stands(2, at(2, 7));
        assert_eq!(TakeoverStep::FollowerPoll(2), takeover.next(0, None));
        assert_eq!(TakeoverStep::Wait, takeover.next(10, None));
        takeover.is_gone(2);
        assert_eq!(TakeoverStep::FollowerPoll(1), takeover.next(20, None));
        assert_eq!(
            TakeoverStep::Wait,
            takeover.next(30, at(1, 90)),
            "the beat that ends the offer is to come"
        );
        takeover.is_gone(1);
        assert_eq!(TakeoverStep::Take, takeover.next(30, at(1, 90)));
    }

    #[test]
    fn one_that_holds_nothing_waits_for_somebody_who_does() {
        let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::new());
        assert_eq!(TakeoverStep::Wait, takeover.next(1_999, None));
        assert_eq!(TakeoverStep::Take, takeover.next(2_000, None));
        let mut first = Takeover::new(1, 0, 0, &BTreeSet::new());
        assert_eq!(TakeoverStep::Take, first.next(0, None));
    }

    #[test]
    fn an_offer_that_does_not_come_is_given_up() {
        let mut takeover = Takeover::new(3, 0, 2_000, &BTreeSet::from([1]));
        takeover.stands(1, at(1, 90));
        assert_eq!(TakeoverStep::FollowerPoll(1), takeover.next(0, at(1, 80)));
        assert_eq!(TakeoverStep::Take, takeover.next(OFFER_DEADLINE_MS, at(1, 80)));
    }
}
