//! Which resources were listed.

use std::collections::BTreeSet;

use super::input::Scope;
use crate::objects::{PODS, Resource};

/// Which of the watched resources were listed, or may not be.
#[derive(Debug)]
pub(super) struct Settled {
    scopes: Vec<Scope>,
    /// The custom resources to watch; `None` until known.
    watched: Option<BTreeSet<Resource>>,
    settled: BTreeSet<(Resource, Scope)>,
}

impl Settled {
    pub(super) fn new(scopes: Vec<Scope>) -> Self {
        Self { scopes, watched: None, settled: BTreeSet::new() }
    }

    pub(super) fn set_watched(&mut self, watched: BTreeSet<Resource>) {
        self.watched = Some(watched);
    }

    pub(super) fn settle(&mut self, resource: Resource, scope: Scope) {
        self.settled.insert((resource, scope));
    }

    /// Returns whether everything that is watched is settled.
    pub(super) fn is_complete(&self) -> bool {
        let Some(watched) = &self.watched else { return false };
        self.are_settled(watched.iter().chain([&PODS]))
    }

    /// Returns the resources that were settled but are no longer watched, unless another resource of their
    /// kind is watched and not settled yet. They count as not settled afterwards.
    pub(super) fn take_unwatched(&mut self) -> BTreeSet<Resource> {
        let Some(watched) = &self.watched else { return BTreeSet::new() };
        let is_replaced = |resource: &Resource| {
            let same_kind = watched.iter().filter(|other| other.kind == resource.kind);
            !watched.contains(resource) && *resource != PODS && self.are_settled(same_kind)
        };
        let taken: BTreeSet<_> =
            self.settled.iter().map(|(resource, _)| *resource).filter(is_replaced).collect();
        self.settled.retain(|(resource, _)| !taken.contains(resource));
        taken
    }

    fn are_settled<'a>(&self, mut resources: impl Iterator<Item = &'a Resource>) -> bool {
        resources.all(|resource| {
            self.scopes.iter().all(|scope| self.settled.contains(&(*resource, scope.clone())))
        })
    }
}
