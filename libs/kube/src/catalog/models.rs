//! The model rules of a pool.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_objects::ModelObject;
use signalbox_types::{Models, PoolId};

use super::rejection::{Reason, Rejection};
use crate::objects::ModelEntry;

/// What a name belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Objective,
    Rewrite,
}

/// Returns the model rules that the objects in the namespace of `pool` define for it. Of two objects with one
/// name, the older counts.
pub(super) fn models<'a>(
    pool: &PoolId,
    entries: impl Iterator<Item = &'a ModelEntry>,
) -> (Models, BTreeSet<Rejection>) {
    let mut rejected = BTreeSet::new();
    let mut valid: Vec<_> = entries.filter_map(|entry| valid(pool, entry, &mut rejected)).collect();
    valid.sort_by_key(|(entry, _)| (entry.created_ms, &entry.reference));
    let (mut objectives, mut rewrites) = (Vec::new(), Vec::new());
    let mut used: BTreeMap<(Named, &str), &ModelEntry> = BTreeMap::new();
    for (entry, object) in valid {
        let name = object.metadata.name.as_str();
        let names = [
            object.names_objective().then_some((Named::Objective, name)),
            object.names_rewrite().then_some((Named::Rewrite, name)),
        ];
        let names = names.into_iter().flatten();
        if let Some(first) = names.clone().find_map(|name| used.get(&name)) {
            let first = &first.reference;
            let message = format!(
                "{name} is already the name of an older {} ({}) for the same pool; use another",
                first.kind, first.api_version
            );
            rejected.insert(Rejection::new(&entry.reference, Reason::NameTaken, message));
            continue;
        }
        used.extend(names.map(|name| (name, entry)));
        objectives.extend(object.objective());
        rewrites.extend(object.rewrite());
    }
    (Models::new(objectives, rewrites), rejected)
}

/// Returns the object of `entry` if it is about `pool` and valid.
fn valid<'a>(
    pool: &PoolId,
    entry: &'a ModelEntry,
    rejected: &mut BTreeSet<Rejection>,
) -> Option<(&'a ModelEntry, &'a ModelObject)> {
    let pool_ref = entry.object.as_ref().and_then(|object| object.pool_ref.as_ref());
    // An invalid reference can mean this pool.
    if pool_ref.is_some_and(|pool_ref| pool_ref.pool_in(&pool.namespace).as_ref() != Some(pool)) {
        return None;
    }
    if let Some(problem) = &entry.problem {
        rejected.insert(Rejection::new(&entry.reference, Reason::Invalid, problem));
        return None;
    }
    entry.object.as_ref().map(|object| (entry, object))
}
