//! What a coordinator is known to hold, as plain data.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signalbox_types::PoolId;

use crate::keys::{self, Facts};
use crate::{Member, OwnerSeen, Role};

/// What a coordinator was last known to hold.
///
/// After an outage of the coordinator, leases may have run out only because nobody could renew them. Members that were known before
/// and are missed since are shown until a grace has passed, in which whoever lives registers again. Owners are shown as they are: who
/// is deposed must hear of it at once, and who takes over looks for other signs of life.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// `None` until the coordinator was heard.
    facts: Option<Facts>,
    /// Members that were there before the outage.
    missed: Facts,
    grace_ends: Option<Instant>,
}

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Put(String, Vec<u8>),
    Deleted(String),
}

impl Ledger {
    /// All that the coordinator holds, as it says at `now`. It was not heard for a while, so members are missed only after `grace`.
    pub(crate) fn listed(&mut self, facts: Facts, now: Instant, grace: Duration) {
        let Some(before) = self.facts.replace(facts) else { return };
        self.missed.extend(before.into_iter().filter(|(key, _)| keys::is_member(key)));
        let present = self.facts.iter().flat_map(BTreeMap::keys);
        present.for_each(|key| drop(self.missed.remove(key)));
        self.grace_ends = Some(now + grace);
    }

    /// The coordinator says that something changed.
    pub(crate) fn changed(&mut self, event: Event, now: Instant) {
        let facts = self.facts.get_or_insert_default();
        match event {
            Event::Put(key, value) => {
                self.missed.remove(&key);
                facts.insert(key, value);
            }
            Event::Deleted(key) => {
                let was = facts.remove(&key);
                if let Some(value) = was
                    && keys::is_member(&key)
                    && self.grace_ends.is_some_and(|end| now < end)
                {
                    self.missed.insert(key, value);
                }
            }
        }
    }

    /// When [`Ledger::settle`] has something to do.
    pub(crate) fn grace_ends(&self) -> Option<Instant> {
        self.grace_ends
    }

    /// Forgets who is missed still when the grace is over.
    pub(crate) fn settle(&mut self, now: Instant) {
        if self.grace_ends.is_some_and(|end| now >= end) {
            self.grace_ends = None;
            self.missed.clear();
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Vec<u8>> {
        self.facts.as_ref()?.get(key)
    }

    /// The members of a role, by name.
    pub(crate) fn members(&self, role: Role) -> Vec<Member> {
        let present = self.facts.iter().flat_map(|facts| keys::members(facts, role));
        let mut members: Vec<Member> = present.chain(keys::members(&self.missed, role)).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// A value that somebody else wrote does not keep the pool from being claimed: nobody owns it.
    pub(crate) fn owner(&self, pool: &PoolId) -> OwnerSeen {
        match &self.facts {
            None => OwnerSeen::Unknown,
            Some(facts) => facts
                .get(&keys::owner_key(pool))
                .and_then(|value| keys::owner(value))
                .map_or(OwnerSeen::Nobody, OwnerSeen::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::Owner;

    const GRACE: Duration = Duration::from_secs(2);

    fn key(name: &str) -> String {
        keys::member_key(Role::Epp, name)
    }

    fn facts(names: &[&str]) -> Facts {
        let member = |name: &str| Member { role: Role::Epp, name: name.to_owned(), address: None };
        names.iter().map(|name| (key(name), keys::member_value(&member(name)))).collect()
    }

    fn names(ledger: &Ledger) -> Vec<String> {
        ledger.members(Role::Epp).into_iter().map(|member| member.name).collect()
    }

    fn heard(names: &[&str]) -> (Ledger, Instant) {
        let (mut ledger, now) = (Ledger::default(), Instant::now());
        ledger.listed(facts(names), now, GRACE);
        (ledger, now)
    }

    #[test]
    fn nothing_is_missed_when_the_coordinator_is_heard_for_the_first_time() {
        let (mut ledger, now) = heard(&["a", "b"]);
        assert_eq!(None, ledger.grace_ends());
        ledger.changed(Event::Deleted(key("a")), now);
        assert_eq!(["b"], names(&ledger)[..]);
    }

    #[test]
    fn after_an_outage_who_is_missed_stays_for_the_grace_and_who_comes_back_for_good() {
        let (mut ledger, now) = heard(&["a", "b", "c"]);
        ledger.listed(facts(&["c"]), now, GRACE);
        ledger.changed(Event::Deleted(key("c")), now);
        let (_, value) = facts(&["a"]).pop_first().unwrap();
        ledger.changed(Event::Put(key("a"), value), now);
        assert_eq!(["a", "b", "c"], names(&ledger)[..]);
        ledger.settle(now + GRACE / 2);
        assert_eq!(["a", "b", "c"], names(&ledger)[..]);
        ledger.settle(now + GRACE);
        assert_eq!((vec!["a".to_owned()], None), (names(&ledger), ledger.grace_ends()));
    }

    #[test]
    fn a_second_outage_prolongs_the_grace() {
        let (mut ledger, now) = heard(&["a"]);
        ledger.listed(Facts::new(), now, GRACE);
        ledger.listed(Facts::new(), now + GRACE / 2, GRACE);
        ledger.settle(now + GRACE);
        assert_eq!(["a"], names(&ledger)[..]);
        ledger.settle(now + GRACE * 2);
        assert!(names(&ledger).is_empty());
    }

    #[test]
    fn an_owner_that_is_gone_is_gone_at_once() {
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        let owner = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
        let mut ledger = Ledger::default();
        assert_eq!(OwnerSeen::Unknown, ledger.owner(&pool));
        let now = Instant::now();
        ledger.listed(Facts::from([(keys::owner_key(&pool), keys::owner_value(&owner))]), now, GRACE);
        assert_eq!(OwnerSeen::Owned(owner), ledger.owner(&pool));
        ledger.listed(Facts::new(), now, GRACE);
        assert_eq!(OwnerSeen::Nobody, ledger.owner(&pool));
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(usize),
        Deleted(usize),
        Listed(Vec<usize>),
        Waited(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..NAMES.len()).prop_map(Step::Put),
            (0..NAMES.len()).prop_map(Step::Deleted),
            proptest::collection::vec(0..NAMES.len(), 0..4).prop_map(Step::Listed),
            (0..3_000_u64).prop_map(Step::Waited),
        ]
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "d"];

    proptest! {
        /// Whatever happens: who is there is shown, nobody is shown twice, and once the grace is over nobody else is shown.
        #[test]
        fn who_is_there_is_shown(steps in proptest::collection::vec(step(), 0..40)) {
            let (mut ledger, mut now) = heard(&[]);
            let mut there = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Put(which) => {
                        there.insert(NAMES[which].to_owned());
                        let (key, value) = facts(&[NAMES[which]]).pop_first().unwrap();
                        ledger.changed(Event::Put(key, value), now);
                    }
                    Step::Deleted(which) => {
                        there.remove(NAMES[which]);
                        ledger.changed(Event::Deleted(key(NAMES[which])), now);
                    }
                    Step::Listed(which) => {
                        let listed: Vec<&str> = which.iter().map(|which| NAMES[*which]).collect();
                        there = listed.iter().map(|name| (*name).to_owned()).collect();
                        ledger.listed(facts(&listed), now, GRACE);
                    }
                    Step::Waited(ms) => now += Duration::from_millis(ms),
                }
                ledger.settle(now);
                let shown = names(&ledger);
                prop_assert!(shown.is_sorted_by(|a, b| a < b), "{shown:?}");
                prop_assert!(there.iter().all(|name| shown.contains(name)), "{there:?} {shown:?}");
                if ledger.grace_ends().is_none() {
                    prop_assert_eq!(shown, there.iter().cloned().collect::<Vec<_>>());
                }
            }
        }
    }
}
