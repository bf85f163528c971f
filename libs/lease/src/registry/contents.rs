//! The coordinator's last known contents. Pure: time is a parameter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use signalbox_types::PoolId;

use super::keys::{self, Entries};
use crate::membership::{Member, Role};
use crate::ownership::RegisteredOwner;

/// The coordinator's last known contents.
///
/// During an outage of the coordinator, leases can expire only because nobody could renew them. Members that
/// were known before the outage and are missing after it are therefore kept for a grace period, in which live
/// processes register again. Owners are not kept: an earlier owner must learn at once that it lost the pool, and
/// a successor also checks whether the owner's stream is closed.
#[derive(Debug, Default)]
pub(crate) struct RegistryContents {
    /// `None` until the coordinator answers for the first time.
    entries: Option<Entries>,
    /// Members that were registered before the outage and are missing since.
    missing: Entries,
    grace_ends: Option<Instant>,
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Put(String, Vec<u8>),
    Deleted(String),
}

impl RegistryContents {
    /// Replaces the contents with a full listing that was read at `now`, after the start or an outage.
    /// Members that are missing from it are kept for `grace`.
    pub(crate) fn replace(&mut self, entries: Entries, now: Instant, grace: Duration) {
        let Some(before) = self.entries.replace(entries) else { return };
        self.missing.extend(before.into_iter().filter(|(key, _)| keys::is_member(key)));
        let present = self.entries.iter().flat_map(BTreeMap::keys);
        present.for_each(|key| drop(self.missing.remove(key)));
        self.grace_ends = Some(now + grace);
    }

    /// Replaces the contents with those that the coordinator had at `now`, without an interruption before.
    #[cfg(feature = "kubernetes")]
    pub(crate) fn change_to(&mut self, entries: Entries, now: Instant) {
        let before = self.entries.get_or_insert_default();
        let gone: Vec<String> = before.keys().filter(|key| !entries.contains_key(*key)).cloned().collect();
        gone.into_iter().for_each(|key| self.apply(Event::Deleted(key), now));
        entries.into_iter().for_each(|(key, value)| self.apply(Event::Put(key, value), now));
    }

    /// Applies a change that the coordinator reported at `now`.
    pub(crate) fn apply(&mut self, event: Event, now: Instant) {
        let entries = self.entries.get_or_insert_default();
        match event {
            Event::Put(key, value) => {
                self.missing.remove(&key);
                entries.insert(key, value);
            }
            Event::Deleted(key) => {
                let removed = entries.remove(&key);
                if let Some(value) = removed
                    && keys::is_member(&key)
                    && self.grace_ends.is_some_and(|end| now < end)
                {
                    self.missing.insert(key, value);
                }
            }
        }
    }

    /// Returns when the grace period ends and [`RegistryContents::end_grace`] must be called; `None` outside
    /// of one.
    pub(crate) fn grace_ends(&self) -> Option<Instant> {
        self.grace_ends
    }

    /// Removes the members that are still missing, if the grace period is over.
    pub(crate) fn end_grace(&mut self, now: Instant) {
        if self.grace_ends.is_some_and(|end| now >= end) {
            self.grace_ends = None;
            self.missing.clear();
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Vec<u8>> {
        self.entries.as_ref()?.get(key)
    }

    /// Returns the members of a role, sorted by name.
    pub(crate) fn members(&self, role: Role) -> Vec<Member> {
        let present = self.entries.iter().flat_map(|entries| keys::decode_members(entries, role));
        let mut members: Vec<Member> = present.chain(keys::decode_members(&self.missing, role)).collect();
        members.sort_by(|a, b| a.name.cmp(&b.name));
        members
    }

    /// Returns the owner of a pool. A value that Signalbox did not write counts as no owner, so that the pool
    /// can be claimed.
    pub(crate) fn owner(&self, pool: &PoolId) -> RegisteredOwner {
        match &self.entries {
            None => RegisteredOwner::Unknown,
            Some(entries) => entries
                .get(&keys::owner_key(pool))
                .and_then(|value| keys::decode_owner(value))
                .map_or(RegisteredOwner::Nobody, RegisteredOwner::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::ownership::Owner;

    const GRACE: Duration = Duration::from_secs(2);

    fn key(name: &str) -> String {
        keys::member_key(Role::Epp, name)
    }

    fn entries(names: &[&str]) -> Entries {
        let member = |name: &str| Member { role: Role::Epp, name: name.to_owned(), address: None };
        names.iter().map(|name| (key(name), keys::encode_member(&member(name)))).collect()
    }

    fn names(contents: &RegistryContents) -> Vec<String> {
        contents.members(Role::Epp).into_iter().map(|member| member.name).collect()
    }

    fn listed(names: &[&str]) -> (RegistryContents, Instant) {
        let (mut contents, now) = (RegistryContents::default(), Instant::now());
        contents.replace(entries(names), now, GRACE);
        (contents, now)
    }

    #[test]
    fn first_listing_starts_no_grace_period() {
        let (mut contents, now) = listed(&["a", "b"]);
        assert_eq!(None, contents.grace_ends());
        contents.apply(Event::Deleted(key("a")), now);
        assert_eq!(["b"], names(&contents)[..]);
    }

    #[test]
    fn after_an_outage_missing_members_are_kept_for_the_grace_period() {
        let (mut contents, now) = listed(&["a", "b", "c"]);
        contents.replace(entries(&["c"]), now, GRACE);
        contents.apply(Event::Deleted(key("c")), now);
        let (_, value) = entries(&["a"]).pop_first().unwrap();
        contents.apply(Event::Put(key("a"), value), now);
        assert_eq!(["a", "b", "c"], names(&contents)[..]);
        contents.end_grace(now + GRACE / 2);
        assert_eq!(["a", "b", "c"], names(&contents)[..]);
        contents.end_grace(now + GRACE);
        assert_eq!((vec!["a".to_owned()], None), (names(&contents), contents.grace_ends()));
    }

    #[test]
    fn second_outage_restarts_the_grace_period() {
        let (mut contents, now) = listed(&["a"]);
        contents.replace(Entries::new(), now, GRACE);
        contents.replace(Entries::new(), now + GRACE / 2, GRACE);
        contents.end_grace(now + GRACE);
        assert_eq!(["a"], names(&contents)[..]);
        contents.end_grace(now + GRACE * 2);
        assert!(names(&contents).is_empty());
    }

    #[test]
    fn missing_owner_is_gone_at_once() {
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        let owner = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch: 7 };
        let mut contents = RegistryContents::default();
        assert_eq!(RegisteredOwner::Unknown, contents.owner(&pool));
        let now = Instant::now();
        contents.replace(Entries::from([(keys::owner_key(&pool), keys::encode_owner(&owner))]), now, GRACE);
        assert_eq!(RegisteredOwner::Owned(owner), contents.owner(&pool));
        contents.replace(Entries::new(), now, GRACE);
        assert_eq!(RegisteredOwner::Nobody, contents.owner(&pool));
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
        /// Registered members are always shown, none is shown twice, and after the grace period no others are
        /// shown.
        #[test]
        fn registered_members_are_shown(steps in proptest::collection::vec(step(), 0..40)) {
            let (mut contents, mut now) = listed(&[]);
            let mut registered = std::collections::BTreeSet::new();
            for step in steps {
                match step {
                    Step::Put(which) => {
                        registered.insert(NAMES[which].to_owned());
                        let (key, value) = entries(&[NAMES[which]]).pop_first().unwrap();
                        contents.apply(Event::Put(key, value), now);
                    }
                    Step::Deleted(which) => {
                        registered.remove(NAMES[which]);
                        contents.apply(Event::Deleted(key(NAMES[which])), now);
                    }
                    Step::Listed(which) => {
                        let listed: Vec<&str> = which.iter().map(|which| NAMES[*which]).collect();
                        registered = listed.iter().map(|name| (*name).to_owned()).collect();
                        contents.replace(entries(&listed), now, GRACE);
                    }
                    Step::Waited(ms) => now += Duration::from_millis(ms),
                }
                contents.end_grace(now);
                let shown = names(&contents);
                prop_assert!(shown.is_sorted_by(|a, b| a < b), "{shown:?}");
                prop_assert!(registered.iter().all(|name| shown.contains(name)), "{registered:?} {shown:?}");
                if contents.grace_ends().is_none() {
                    prop_assert_eq!(shown, registered.iter().cloned().collect::<Vec<_>>());
                }
            }
        }
    }
}
