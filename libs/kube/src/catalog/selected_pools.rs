//! Which pools are served, and on which ports.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use signalbox_objects::{InferencePool, PickerRef};
use signalbox_types::PoolId;

use super::rejection::{Reason, Rejection};
use crate::objects::{ObjectRef, Pod, PoolEntry, Resource};

/// Which pools to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolSelection {
    /// Those whose endpoint picker is the Service of this name. A reference has no namespace of its own, so a
    /// pool in any watched namespace counts; on a port that two pools want, those in the Service's namespace
    /// come first.
    ServedBy {
        /// Namespace of the Service.
        namespace: String,
        /// Name of the Service.
        name: String,
    },
    /// These pools, whatever their endpoint picker.
    Named(Vec<PoolId>),
}

/// How pools are chosen.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) selection: PoolSelection,
    /// Ports that the Service opens; `None`: any.
    pub(crate) service_ports: Option<RangeInclusive<u16>>,
}

/// What is used of a pool that is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SelectedPool {
    /// Port of the Service; 0 if the pool names no endpoint picker.
    pub(super) port: u16,
    /// Milliseconds since the Unix epoch.
    pub(super) created_ms: u64,
    pub(super) target_ports: Vec<u16>,
    selector: BTreeMap<String, String>,
}

impl SelectedPool {
    /// Returns whether `pod`, which is in the pool's namespace, has the labels of the pool's selector.
    pub(super) fn selects(&self, pod: &Pod) -> bool {
        self.selector.iter().all(|(name, value)| pod.label(name) == Some(value))
    }
}

/// A valid pool of ours.
struct Candidate<'a> {
    id: PoolId,
    object: &'a ObjectRef,
    picker: Option<&'a PickerRef>,
    /// The order in which pools get names and ports.
    rank: (bool, u64, Resource),
    selected: SelectedPool,
}

/// Returns the pools to serve, and the rejections of pools that cannot be.
pub(super) fn select_pools<'a>(
    rules: &Rules,
    entries: impl Iterator<Item = (Resource, &'a PoolEntry)>,
) -> (BTreeMap<PoolId, SelectedPool>, BTreeSet<Rejection>) {
    let mut rejected = BTreeSet::new();
    let mut candidates: Vec<_> =
        entries.filter_map(|(resource, entry)| candidate(rules, resource, entry, &mut rejected)).collect();
    candidates.sort_by(|one, other| (one.rank, &one.id).cmp(&(other.rank, &other.id)));
    let mut selected = BTreeMap::new();
    let mut ports: BTreeMap<_, PoolId> = BTreeMap::new();
    for Candidate { id, object, picker, selected: pool, .. } in candidates {
        if selected.contains_key(&id) {
            let message =
                format!("an older InferencePool of another API group is also called {id}; delete one");
            rejected.insert(Rejection::new(object, Reason::NameTaken, message));
            continue;
        }
        if let Some(picker) = picker {
            let first = ports.entry((&picker.name, pool.port)).or_insert_with(|| id.clone());
            if *first != id {
                let message = format!(
                    "port {} of the endpoint picker is already used by the pool {first}; use another port",
                    pool.port
                );
                rejected.insert(Rejection::new(object, Reason::PortTaken, message));
                continue;
            }
        }
        selected.insert(id, pool);
    }
    (selected, rejected)
}

/// Returns the pool of `entry` if it is ours and valid.
fn candidate<'a>(
    rules: &Rules,
    resource: Resource,
    entry: &'a PoolEntry,
    rejected: &mut BTreeSet<Rejection>,
) -> Option<Candidate<'a>> {
    let PoolEntry { reference: object, created_ms, pool, problem, .. } = entry;
    let pool = pool.as_ref().filter(|_| !entry.is_being_deleted)?;
    let id = PoolId { namespace: object.key.namespace.to_string(), name: object.key.name.to_string() };
    let is_foreign = match &rules.selection {
        PoolSelection::Named(ids) if ids.contains(&id) => false,
        PoolSelection::ServedBy { namespace, name } if names_service(pool, name) => {
            id.namespace != *namespace
        }
        _ => return None,
    };
    if let Some(problem) = problem {
        rejected.insert(Rejection::new(object, Reason::Invalid, problem));
        return None;
    }
    let picker = pool.picker.as_ref();
    let port = picker.and_then(|picker| picker.port).unwrap_or_default();
    if let (Some(open), Some(_)) = (&rules.service_ports, picker)
        && !open.contains(&port)
    {
        let (first, last) = (open.start(), open.end());
        let message = format!(
            "port {port} of the endpoint picker is not one of its ports {first}-{last}; use one of them, or open the port"
        );
        rejected.insert(Rejection::new(object, Reason::PortNotOpen, message));
        return None;
    }
    let selected = SelectedPool {
        port,
        created_ms: *created_ms,
        target_ports: pool.target_ports.clone(),
        selector: pool.selector.clone(),
    };
    Some(Candidate { id, object, picker, rank: (is_foreign, *created_ms, resource), selected })
}

fn names_service(pool: &InferencePool, name: &str) -> bool {
    pool.picker.as_ref().is_some_and(|picker| picker.is_service(name))
}
