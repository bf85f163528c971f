//! Which pools are served, and on which ports.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use signalbox_objects::{InferencePool, PickerRef};
use signalbox_types::{PageSettings, PoolId};

use super::rejection::{Reason, Rejection};
use crate::objects::{ObjectRef, Pod, PoolEntry, Resource};

/// Which pools to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolSelection {
    /// Those whose endpoint picker is the Service of this name. A reference has no namespace of its own, so a
    /// pool in any watched namespace counts.
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
    /// How metrics pages are found and read unless a pod says otherwise.
    pub(crate) pages: PageSettings,
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
    resource: Resource,
    picker: Option<&'a PickerRef>,
    selected: SelectedPool,
}

/// A Service: its namespace, if it is not that of the installation, and its name.
type Service<'a> = (Option<&'a str>, &'a str);

/// Which pools have which ports.
#[derive(Default)]
struct Ports<'a> {
    of_service: BTreeMap<(Service<'a>, u16), &'a PoolId>,
    /// Of any Service: replicas open a port once, whatever the Service.
    of_replicas: BTreeMap<u16, &'a PoolId>,
}

impl<'a> Ports<'a> {
    /// Gives `port` of `service` to `pool`. Returns the older pool that has it if there is one, and whether that
    /// is a pool of another Service.
    fn assign(&mut self, service: Service<'a>, port: u16, pool: &'a PoolId) -> Option<(&'a PoolId, bool)> {
        let first = *self.of_service.entry((service, port)).or_insert(pool);
        if first != pool {
            return Some((first, false));
        }
        let first = *self.of_replicas.entry(port).or_insert(pool);
        (first != pool).then_some((first, true))
    }
}

/// Returns the pools to serve, and the rejections of pools that cannot be.
pub(super) fn select_pools<'a>(
    rules: &Rules,
    entries: impl Iterator<Item = (Resource, &'a PoolEntry)>,
) -> (BTreeMap<PoolId, SelectedPool>, BTreeSet<Rejection>) {
    let mut rejected = BTreeSet::new();
    let mut candidates: Vec<_> =
        entries.filter_map(|(resource, entry)| candidate(rules, resource, entry, &mut rejected)).collect();
    // The order in which pools get names and ports.
    candidates.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let mut selected = BTreeMap::new();
    let mut ports = Ports::default();
    for candidate in &candidates {
        let Candidate { id, object, selected: pool, .. } = candidate;
        if selected.contains_key(id) {
            let message =
                format!("an older InferencePool of another API group is also called {id}; delete one");
            rejected.insert(Rejection::new(object, Reason::NameTaken, message));
            continue;
        }
        let service = candidate.service(&rules.selection);
        let conflict = service.and_then(|service| ports.assign(service, pool.port, id));
        if let Some((first, is_other_service)) = conflict {
            let message = port_taken(pool.port, first, is_other_service);
            rejected.insert(Rejection::new(object, Reason::PortTaken, message));
        }
        if conflict.is_none_or(|(_, is_other_service)| is_other_service) {
            selected.insert(id.clone(), pool.clone());
        }
    }
    (selected, rejected)
}

fn port_taken(port: u16, first: &PoolId, is_other_service: bool) -> String {
    if is_other_service {
        format!(
            "port {port} of the endpoint picker is also that of the older pool {first}, which names another Service; \
             replicas that serve all pools serve only that one; use another port"
        )
    } else {
        format!(
            "port {port} of the endpoint picker is already used by the older pool {first}; use another port"
        )
    }
}

impl Candidate<'_> {
    /// The older pool comes first; of two of the same age the one with the lesser name.
    fn rank(&self) -> (u64, &PoolId, Resource) {
        (self.selected.created_ms, &self.id, self.resource)
    }

    /// Returns the Service that the pool names, if any.
    fn service(&self, selection: &PoolSelection) -> Option<Service<'_>> {
        let namespace = match selection {
            PoolSelection::ServedBy { .. } => None,
            PoolSelection::Named(_) => Some(self.id.namespace.as_str()),
        };
        self.picker.map(|picker| (namespace, picker.name.as_str()))
    }
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
    let is_ours = match &rules.selection {
        PoolSelection::Named(ids) => ids.contains(&id),
        PoolSelection::ServedBy { name, .. } => names_service(pool, name),
    };
    if !is_ours {
        return None;
    }
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
    Some(Candidate { id, object, resource, picker, selected })
}

fn names_service(pool: &InferencePool, name: &str) -> bool {
    pool.picker.as_ref().is_some_and(|picker| picker.is_service(name))
}
