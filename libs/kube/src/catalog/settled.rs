//! Which resources were listed, and in which namespaces pools are known.

use std::collections::BTreeSet;

use super::input::Scope;
use crate::objects::{PODS, Resource, ResourceKind};

/// Which of the watched resources were listed, or may not be.
///
/// The pools of a scope are known when everything there was listed. What may not be listed counts as empty only
/// for model rules: pools can do without them. Without its pods a pool would seem to have no endpoints, and without
/// the pools all would seem to be gone; so a scope in which either may not be listed is held back until it may.
#[derive(Debug)]
pub(super) struct Settled {
    scopes: Vec<Scope>,
    /// The custom resources to watch; `None` until known.
    watched: Option<BTreeSet<Resource>>,
    listed: BTreeSet<(Resource, Scope)>,
    /// What may not be listed and never was.
    refused: BTreeSet<(Resource, Scope)>,
    /// The scopes whose pools are known. They stay known: whatever fails later leaves what was listed.
    known: BTreeSet<Scope>,
}

impl Settled {
    pub(super) fn new(scopes: Vec<Scope>) -> Self {
        let (listed, refused, known) = Default::default();
        Self { scopes, watched: None, listed, refused, known }
    }

    pub(super) fn set_watched(&mut self, watched: BTreeSet<Resource>) {
        self.watched = Some(watched);
    }

    /// Takes note that a resource was listed.
    pub(super) fn list(&mut self, resource: Resource, scope: Scope) {
        let settled = (resource, scope);
        self.refused.remove(&settled);
        self.listed.insert(settled);
    }

    /// Takes note that a resource may not be listed.
    pub(super) fn refuse(&mut self, resource: Resource, scope: Scope) {
        let refused = (resource, scope);
        if !self.listed.contains(&refused) {
            self.refused.insert(refused);
        }
    }

    /// Determines the known scopes. Returns whether there are more than before.
    pub(super) fn update_known(&mut self) -> bool {
        let Some(watched) = &self.watched else { return false };
        let before = self.known.len();
        let is_known = |scope: &&Scope| {
            watched.iter().chain([&PODS]).all(|resource| {
                let settled = (*resource, (*scope).clone());
                self.listed.contains(&settled) || (!is_needed(resource) && self.refused.contains(&settled))
            })
        };
        let known: Vec<_> = self.scopes.iter().filter(is_known).cloned().collect();
        self.known.extend(known);
        self.known.len() > before
    }

    /// Returns whether the pools in `namespace` are known.
    pub(super) fn is_known(&self, namespace: &str) -> bool {
        self.known.iter().any(|scope| scope.includes(namespace))
    }

    /// Returns whether the pools are known as far as they may be: in one scope at least, and in all that are
    /// not held back.
    pub(super) fn is_complete(&self) -> bool {
        let is_settled = |scope: &Scope| self.known.contains(scope) || self.is_held_back(scope);
        !self.known.is_empty() && self.scopes.iter().all(is_settled)
    }

    fn is_held_back(&self, scope: &Scope) -> bool {
        self.refused.iter().any(|(resource, of)| of == scope && is_needed(resource))
    }

    /// Returns the resources that were settled but are no longer watched, unless another resource of their
    /// kind is watched and not listed yet. They count as not settled afterwards.
    pub(super) fn take_unwatched(&mut self) -> BTreeSet<Resource> {
        let Some(watched) = &self.watched else { return BTreeSet::new() };
        let is_replaced = |resource: &Resource| {
            let mut same_kind = watched.iter().filter(|other| other.kind == resource.kind);
            !watched.contains(resource)
                && *resource != PODS
                && same_kind.all(|other| self.is_listed_everywhere(*other))
        };
        let settled = self.listed.iter().chain(&self.refused);
        let taken: BTreeSet<_> = settled.map(|(resource, _)| *resource).filter(is_replaced).collect();
        self.listed.retain(|(resource, _)| !taken.contains(resource));
        self.refused.retain(|(resource, _)| !taken.contains(resource));
        taken
    }

    /// Returns whether `resource` was listed in all scopes whose pools are known.
    fn is_listed_everywhere(&self, resource: Resource) -> bool {
        self.known.iter().all(|scope| self.listed.contains(&(resource, scope.clone())))
    }
}

/// Returns whether pools cannot be known without `resource`.
fn is_needed(resource: &Resource) -> bool {
    matches!(resource.kind, ResourceKind::Pod | ResourceKind::Pool)
}
