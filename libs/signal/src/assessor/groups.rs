//! The groups of pods that a pool has, or had and is to have again.

use std::collections::{BTreeMap, BTreeSet};

use super::count;
use super::group_state::GroupState;
use crate::group::Group;
use crate::observation::Pod;
use crate::signal::{GroupSignal, Signal};

/// What an assessor remembers of each group; at most [`Signal::MAX_GROUPS`].
#[derive(Debug, Default)]
pub(super) struct Groups(BTreeMap<Group, GroupState>);

impl Groups {
    /// Takes over what an earlier owner has published of a group.
    pub(super) fn inherit(&mut self, signal: &GroupSignal) {
        if self.0.len() >= Signal::MAX_GROUPS && !self.contains(&signal.group) {
            return;
        }
        let state = self.0.entry(signal.group.clone());
        let state = state.or_insert_with(|| GroupState::new(signal.desired, true));
        state.steadied.raise(signal.desired);
        state.startup.inherit(signal.startup_ms);
    }

    /// Adds the groups of `pods`, and forgets those whose pods are gone for good: others serve in their place.
    pub(super) fn update(&mut self, now_ms: u64, pods: &[Pod]) {
        let present: BTreeSet<&Group> = pods.iter().map(|pod| &pod.group).collect();
        for (group, state) in &mut self.0 {
            state.record_pods(now_ms, present.contains(group));
        }
        let is_gone = |group: &Group, state: &GroupState| {
            let is_unlabelled = group.deployment.is_empty();
            state.is_gone(now_ms, is_unlabelled) && is_replaced(group, &present)
        };
        self.0.retain(|group, state| !is_gone(group, state));
        for group in &present {
            if !self.contains(group) && self.has_room(&present) {
                let serving = count(pods, group).provisioned();
                self.0.insert((*group).clone(), GroupState::new(serving, false));
            }
        }
        if self.0.is_empty() {
            self.0.insert(Group::default(), GroupState::new(0, false));
        }
    }

    pub(super) fn contains(&self, group: &Group) -> bool {
        self.0.contains_key(group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Group> {
        self.0.keys()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Group, &mut GroupState)> {
        self.0.iter_mut()
    }

    /// Returns whether one more group can be added, in place of one without pods if there are too many.
    fn has_room(&mut self, present: &BTreeSet<&Group>) -> bool {
        if self.0.len() >= Signal::MAX_GROUPS
            && let Some(absent) = self.0.keys().find(|group| !present.contains(group)).cloned()
        {
            self.0.remove(&absent);
        }
        self.0.len() < Signal::MAX_GROUPS
    }
}

/// Returns whether pods of other groups can serve in place of those of `group`: they have its role, or `group` is that of pods
/// without any label.
fn is_replaced(group: &Group, present: &BTreeSet<&Group>) -> bool {
    let is_default = *group == Group::default();
    present.iter().any(|other| *other != group && (is_default || other.role == group.role))
}
