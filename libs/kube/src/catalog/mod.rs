//! Derives the pools from the objects of the cluster.
//!
//! [`Catalog`] is pure: what it derives depends only on the objects that exist, not on the order in which it
//! learned of them. An object that cannot be used is left out and becomes a [`Rejection`]; the rest stays
//! unaffected.

mod endpoints;
mod input;
mod models;
mod rejection;
mod rejections;
mod selected_pools;
mod settled;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::Arc;

use signalbox_types::{PoolId, PoolSpec};

pub(crate) use self::input::{Input, Scope};
pub(crate) use self::rejection::Rejection;
use self::rejections::{Rejections, Source};
pub use self::selected_pools::PoolSelection;
pub(crate) use self::selected_pools::Rules;
use self::selected_pools::{SelectedPool, select_pools};
use self::settled::Settled;
use self::store::Store;
use crate::discovered::{DiscoveredPool, DiscoveredPools};
use crate::objects::{ModelEntry, Object, Pod, PoolEntry, Resource};

/// The objects that are known, and the pools that follow from them.
#[derive(Debug)]
pub(crate) struct Catalog {
    rules: Rules,
    settled: Settled,
    pods: Store<Pod>,
    pools: Store<PoolEntry>,
    models: Store<ModelEntry>,
    selected: BTreeMap<PoolId, SelectedPool>,
    dirty: Dirty,
    discovered: DiscoveredPools,
    rejections: Rejections,
}

/// What must be derived again.
#[derive(Debug, Default)]
struct Dirty {
    selection: bool,
    endpoints: BTreeSet<PoolId>,
    models: BTreeSet<PoolId>,
}

/// What a refresh found.
#[derive(Debug)]
pub(crate) struct Refreshed {
    /// The pools as they are now.
    pub(crate) pools: DiscoveredPools,
    /// Objects that are left out since this refresh, and why.
    pub(crate) rejections: Vec<Rejection>,
    /// All objects that are left out, and why; `None` if they are as in the refresh before.
    pub(crate) in_force: Option<BTreeSet<Rejection>>,
}

impl Catalog {
    /// Creates a catalog of the objects in `scopes`.
    pub(crate) fn new(rules: Rules, scopes: Vec<Scope>) -> Self {
        Self {
            rules,
            settled: Settled::new(scopes),
            pods: Store::default(),
            pools: Store::default(),
            models: Store::default(),
            selected: BTreeMap::new(),
            dirty: Dirty::default(),
            discovered: DiscoveredPools::default(),
            rejections: Rejections::default(),
        }
    }

    /// Takes note of a change. [`refresh`](Self::refresh) then shows what follows from it.
    pub(crate) fn handle(&mut self, input: Input) {
        match input {
            Input::Watched(resources) => {
                self.settled.set_watched(resources);
                self.settle();
            }
            Input::Applied(resource, object) => self.apply(resource, object),
            Input::Deleted(resource, object) => self.delete(resource, &object),
            Input::Listed { resource, scope, objects } => {
                self.replace(resource, &scope, objects);
                self.settled.list(resource, scope);
                self.settle();
            }
            Input::Refused { resource, scope } => {
                self.settled.refuse(resource, scope);
                self.settle();
            }
        }
    }

    /// Derives what has changed. Returns `None` before all objects were listed that may be, and those of a pool
    /// and its pods in one namespace at least. Pools in a namespace where they or pods were never listed are left
    /// out.
    pub(crate) fn refresh(&mut self) -> Option<Refreshed> {
        self.discovered.is_synced |= self.settled.is_complete();
        if !self.discovered.is_synced {
            return None;
        }
        let mut new_rejections = Vec::new();
        if mem::take(&mut self.dirty.selection) {
            self.refresh_selection(&mut new_rejections);
        }
        let changed = &self.dirty.endpoints | &self.dirty.models;
        for id in changed {
            self.refresh_pool(id, &mut new_rejections);
        }
        self.dirty = Dirty::default();
        let in_force = self.rejections.take_changed();
        Some(Refreshed { pools: self.discovered.clone(), rejections: new_rejections, in_force })
    }

    fn refresh_selection(&mut self, new_rejections: &mut Vec<Rejection>) {
        let is_known = |entry: &PoolEntry| self.settled.is_known(&entry.reference.key.namespace);
        let entries = self.pools.all().filter(|(_, entry)| is_known(entry));
        let (selected, rejected) = select_pools(&self.rules, entries);
        self.rejections.replace(Source::Selection, rejected, new_rejections);
        let before = mem::replace(&mut self.selected, selected);
        for (id, pool) in &self.selected {
            if before.get(id) != Some(pool) {
                self.dirty.endpoints.insert(id.clone());
            }
            if !before.contains_key(id) {
                self.dirty.models.insert(id.clone());
            }
        }
        for id in before.into_keys().filter(|id| !self.selected.contains_key(id)) {
            self.discovered.pools.remove(&id);
            self.rejections.replace(Source::Endpoints(id.clone()), BTreeSet::new(), new_rejections);
            self.rejections.replace(Source::Models(id), BTreeSet::new(), new_rejections);
        }
    }

    fn refresh_pool(&mut self, id: PoolId, new_rejections: &mut Vec<Rejection>) {
        let Some(selected) = self.selected.get(&id) else { return };
        let before = self.discovered.pools.get(&id).map(|pool| Arc::clone(&pool.spec));
        let known = before.as_deref();
        let endpoints = if self.dirty.endpoints.contains(&id) {
            let pods = self.pods.namespace(&id.namespace).map(|(_, pod)| pod);
            let (endpoints, rejected) = endpoints::endpoints(selected, pods, &self.rules.pages);
            self.rejections.replace(Source::Endpoints(id.clone()), rejected, new_rejections);
            endpoints
        } else {
            known.map(|spec| spec.endpoints.clone()).unwrap_or_default()
        };
        let models = if self.dirty.models.contains(&id) {
            let entries = self.models.namespace(&id.namespace).map(|(_, entry)| entry);
            let (models, rejected) = models::models(&id, entries);
            self.rejections.replace(Source::Models(id.clone()), rejected, new_rejections);
            Arc::new(models)
        } else {
            known.map(|spec| Arc::clone(&spec.models)).unwrap_or_default()
        };
        let spec = PoolSpec { id: id.clone(), endpoints, models };
        let spec = before.filter(|before| **before == spec).unwrap_or_else(|| Arc::new(spec));
        let pool = DiscoveredPool { spec, port: selected.port, created_ms: selected.created_ms };
        self.discovered.pools.insert(id, pool);
    }

    fn apply(&mut self, resource: Resource, object: Object) {
        let Self { pods, pools, models, selected, dirty, .. } = self;
        match object {
            Object::Pod(pod) => {
                let key = pod.reference.key.clone();
                pods.put(resource, key, pod, |pod| dirty.mark_pod(selected, pod));
            }
            Object::Pool(pool) => {
                pools.put(resource, pool.reference.key.clone(), pool, |_| dirty.selection = true);
            }
            Object::Model(model) => {
                let key = model.reference.key.clone();
                models.put(resource, key, model, |model| dirty.mark_model(selected, model));
            }
        }
    }

    fn delete(&mut self, resource: Resource, object: &Object) {
        let Self { pods, pools, models, selected, dirty, .. } = self;
        let key = &object.reference().key;
        match object {
            Object::Pod(_) => pods.remove(resource, key, |pod| dirty.mark_pod(selected, pod)),
            Object::Pool(_) => pools.remove(resource, key, |_| dirty.selection = true),
            Object::Model(_) => models.remove(resource, key, |model| dirty.mark_model(selected, model)),
        }
    }

    /// Replaces all objects of `resource` in `scope`.
    fn replace(&mut self, resource: Resource, scope: &Scope, objects: Vec<Object>) {
        let Self { pods, pools, models, selected, dirty, .. } = self;
        let (mut new_pods, mut new_pools, mut new_models) = (Vec::new(), Vec::new(), Vec::new());
        for object in objects {
            let key = object.reference().key.clone();
            match object {
                Object::Pod(pod) => new_pods.push((key, pod)),
                Object::Pool(pool) => new_pools.push((key, pool)),
                Object::Model(model) => new_models.push((key, model)),
            }
        }
        pods.replace(resource, scope, new_pods, |pod| dirty.mark_pod(selected, pod));
        pools.replace(resource, scope, new_pools, |_| dirty.selection = true);
        models.replace(resource, scope, new_models, |model| dirty.mark_model(selected, model));
    }

    /// Follows what is watched and listed: selects the pools that are known only now, and drops the objects of
    /// resources that are no longer watched, once those that are watched instead are listed.
    fn settle(&mut self) {
        self.dirty.selection |= self.settled.update_known();
        for resource in self.settled.take_unwatched() {
            self.replace(resource, &Scope::All, Vec::new());
        }
    }
}

impl Dirty {
    /// Marks the pools that select `pod`.
    fn mark_pod(&mut self, selected: &BTreeMap<PoolId, SelectedPool>, pod: &Pod) {
        let in_namespace = in_namespace(selected, &pod.reference.key.namespace);
        let affected = in_namespace.filter(|(_, pool)| pool.selects(pod)).map(|(id, _)| id.clone());
        self.endpoints.extend(affected);
    }

    /// Marks the pools that `entry` can be about.
    fn mark_model(&mut self, selected: &BTreeMap<PoolId, SelectedPool>, entry: &ModelEntry) {
        let affected = in_namespace(selected, &entry.reference.key.namespace);
        self.models.extend(affected.map(|(id, _)| id.clone()));
    }
}

fn in_namespace<'a>(
    selected: &'a BTreeMap<PoolId, SelectedPool>,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a PoolId, &'a SelectedPool)> {
    let first = PoolId { namespace: namespace.to_owned(), name: String::new() };
    selected.range(first..).take_while(move |(id, _)| id.namespace == namespace)
}

#[cfg(test)]
mod tests;
