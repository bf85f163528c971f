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
pub(super) struct Rejections(BTreeMap<Source, BTreeSet<Rejection>>);

impl Rejections {
    /// Replaces the rejections from `source`. Adds to `new` those that no source had before.
    pub(super) fn replace(&mut self, source: Source, now: BTreeSet<Rejection>, new: &mut Vec<Rejection>) {
        let is_known = |rejection: &&Rejection| self.0.values().any(|set| set.contains(*rejection));
        new.extend(now.iter().filter(|rejection| !is_known(rejection)).cloned());
        if now.is_empty() {
            self.0.remove(&source);
        } else {
            self.0.insert(source, now);
        }
    }
}
