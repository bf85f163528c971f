//! The rejections in force, so that each is reported once.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_types::PoolId;

use super::rejection::Rejection;

/// What the rejections come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// Which pools are served.
    Selection,
    /// The endpoints of a pool.
    Endpoints(PoolId),
    /// The model rules of a pool.
    Models(PoolId),
}

/// The rejections in force.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Rejections {
    by_source: BTreeMap<Source, BTreeSet<Rejection>>,
    /// Whether they changed since they were taken.
    is_changed: bool,
}

impl Rejections {
    /// Replaces the rejections from `source`. Adds to `new` those that no source had before.
    pub(super) fn replace(&mut self, source: Source, now: BTreeSet<Rejection>, new: &mut Vec<Rejection>) {
        let is_known = |rejection: &&Rejection| self.by_source.values().any(|set| set.contains(*rejection));
        new.extend(now.iter().filter(|rejection| !is_known(rejection)).cloned());
        self.is_changed |= self.by_source.get(&source).unwrap_or(&BTreeSet::new()) != &now;
        if now.is_empty() {
            self.by_source.remove(&source);
        } else {
            self.by_source.insert(source, now);
        }
    }

    /// Returns all rejections if they changed since the last call.
    pub(super) fn take_changed(&mut self) -> Option<BTreeSet<Rejection>> {
        let is_changed = std::mem::take(&mut self.is_changed);
        is_changed.then(|| self.by_source.values().flatten().cloned().collect())
    }
}
