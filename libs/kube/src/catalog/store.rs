//! Objects of one type, by namespace, resource and name.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Scope;
use crate::objects::{ObjectKey, Resource};

type Namespace<T> = BTreeMap<(Resource, Box<str>), T>;

/// Objects of one type. Each change calls back with the objects as they were before and as they are now.
#[derive(Debug)]
pub(super) struct Store<T>(BTreeMap<Box<str>, Namespace<T>>);

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: PartialEq> Store<T> {
    /// Returns all objects.
    pub(super) fn all(&self) -> impl Iterator<Item = (Resource, &T)> {
        self.0.values().flatten().map(|((resource, _), object)| (*resource, object))
    }

    /// Returns the objects in `namespace`.
    pub(super) fn namespace(&self, namespace: &str) -> impl Iterator<Item = (Resource, &T)> {
        let objects = self.0.get(namespace).into_iter().flatten();
        objects.map(|((resource, _), object)| (*resource, object))
    }

    /// Adds or replaces one object.
    pub(super) fn put(&mut self, resource: Resource, key: ObjectKey, object: T, mut changed: impl FnMut(&T)) {
        let ObjectKey { namespace, name } = key;
        let objects = self.0.entry(namespace).or_default();
        let at = (resource, name);
        if let Some(before) = objects.get(&at) {
            if *before == object {
                return;
            }
            changed(before);
        }
        changed(&object);
        objects.insert(at, object);
    }

    /// Removes one object.
    pub(super) fn remove(&mut self, resource: Resource, key: &ObjectKey, mut changed: impl FnMut(&T)) {
        let Some(objects) = self.0.get_mut(&key.namespace) else { return };
        if let Some(before) = objects.remove(&(resource, key.name.clone())) {
            changed(&before);
        }
        if objects.is_empty() {
            self.0.remove(&key.namespace);
        }
    }

    /// Replaces all objects of `resource` in `scope`.
    pub(super) fn replace(
        &mut self,
        resource: Resource,
        scope: &Scope,
        objects: Vec<(ObjectKey, T)>,
        mut changed: impl FnMut(&T),
    ) {
        let listed: BTreeSet<ObjectKey> = objects.iter().map(|(key, _)| key.clone()).collect();
        for (namespace, objects) in self.0.iter_mut().filter(|(namespace, _)| scope.includes(namespace)) {
            objects.retain(|(of, name), object| {
                let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
                let is_kept = *of != resource || listed.contains(&key);
                if !is_kept {
                    changed(object);
                }
                is_kept
            });
        }
        self.0.retain(|_, objects| !objects.is_empty());
        for (key, object) in objects {
            self.put(resource, key, object, &mut changed);
        }
    }
}
