//! The stored objects and their history.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// The stored Leases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<String, Value>,
    revision: u64,
    /// The changes that watches report: the revision, the kind and the object.
    history: Vec<(u64, &'static str, Value)>,
    /// Watches from before this revision cannot continue.
    compacted: u64,
    /// Watches of another generation end.
    pub(super) generation: u64,
    /// Number of writes, with those that were refused.
    pub(crate) writes: u64,
    /// Number of requests about Leases of pools.
    pub(crate) about_pools: u64,
    /// Number of lists and watches that were begun.
    pub(crate) lists: u64,
}

/// Code and reason of a refusal.
pub(super) type Refusal = (u16, &'static str);

impl Store {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.objects.keys().map(String::as_str).collect()
    }

    pub(crate) fn object(&self, name: &str) -> Option<&Value> {
        self.objects.get(name)
    }

    pub(super) fn list(&self, selector: &str) -> Value {
        let items: Vec<&Value> =
            self.objects.values().filter(|object| is_selected(object, selector)).collect();
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "LeaseList",
            "metadata": {"resourceVersion": self.revision.to_string()}, "items": items,
        })
    }

    pub(crate) fn create(&mut self, name: &str, mut object: Value) -> Result<Value, (u16, &'static str)> {
        if self.objects.contains_key(name) {
            return Err((409, "AlreadyExists"));
        }
        object["metadata"]["uid"] = json!(format!("uid-{}", self.revision + 1));
        Ok(self.store(name, object, "ADDED"))
    }

    pub(super) fn replace(&mut self, name: &str, object: Value) -> Result<Value, Refusal> {
        let stored = self.objects.get(name).ok_or((404, "NotFound"))?;
        for field in ["resourceVersion", "uid"] {
            if object["metadata"][field] != stored["metadata"][field] {
                return Err((409, "Conflict"));
            }
        }
        Ok(self.store(name, object, "MODIFIED"))
    }

    pub(super) fn delete(&mut self, name: &str, preconditions: &Value) -> Result<Value, Refusal> {
        let stored = self.objects.get(name).ok_or((404, "NotFound"))?;
        for field in ["resourceVersion", "uid"] {
            let expected = &preconditions[field];
            if !expected.is_null() && *expected != stored["metadata"][field] {
                return Err((409, "Conflict"));
            }
        }
        let mut object = self.objects.remove(name).unwrap_or_default();
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.history.push((self.revision, "DELETED", object.clone()));
        Ok(object)
    }

    fn store(&mut self, name: &str, mut object: Value, kind: &'static str) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        self.history.push((self.revision, kind, object.clone()));
        self.objects.insert(name.to_owned(), object.clone());
        object
    }

    pub(super) fn compact(&mut self) {
        self.compacted = self.revision;
        self.history.clear();
        self.generation += 1;
    }

    pub(super) fn end_watches(&mut self, current: &Self) {
        self.generation = current.generation + 1;
        (self.writes, self.about_pools, self.lists) = (current.writes, current.about_pools, current.lists);
    }

    /// Returns the lines that a watch sends for the changes after `revision`, and the revision that it has then.
    pub(super) fn changes_after(&self, revision: u64, selector: &str) -> (Vec<Value>, u64) {
        if revision < self.compacted {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "too old resource version", "reason": "Expired", "code": 410,
            });
            return (vec![json!({"type": "ERROR", "object": status})], self.compacted);
        }
        let after =
            self.history.iter().filter(|(at, _, object)| *at > revision && is_selected(object, selector));
        let lines = after.map(|(_, kind, object)| json!({"type": kind, "object": object})).collect();
        (lines, self.revision.max(revision))
    }
}

fn is_selected(object: &Value, selector: &str) -> bool {
    selector.split_once('=').is_none_or(|(label, value)| object["metadata"]["labels"][label] == value)
}
