//! Reads InferencePools of all versions.
//!
//! Version `v1` has `targetPorts`, `selector.matchLabels` and `endpointPickerRef`; version `v1alpha2` has
//! `targetPortNumber`, a flat `selector` and `extensionRef`. Manifests mix the forms, so each field is
//! accepted in either form, whatever the version.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_document::{Fields, Located, Node, Problems, Value};

use crate::kind::{check_api_version, is_pool_group, read_fields};
use crate::metadata::{Metadata, read_metadata};

/// Number of target ports that a pool can have.
const MAX_TARGET_PORTS: usize = 8;

/// Port of an endpoint picker whose reference in version `v1alpha2` names none.
const DEFAULT_PICKER_PORT: u16 = 9002;

/// An InferencePool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InferencePool {
    /// Metadata of the pool.
    pub metadata: Metadata,
    /// The endpoint picker that the pool names; `None` if it names none, or the reference is invalid.
    pub picker: Option<PickerRef>,
    /// Labels that a pod must have; not empty in a valid pool.
    pub selector: BTreeMap<String, String>,
    /// Ports of each pod, each of which is an endpoint; 1 to 8 in a valid pool.
    pub target_ports: Vec<u16>,
}

/// The endpoint picker that a pool names, in the pool's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PickerRef {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, usually `Service`.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Port of the Service; `None` if it is missing or invalid.
    pub port: Option<u16>,
}

impl PickerRef {
    /// Returns whether this names the Service called `name`.
    pub fn is_service(&self, name: &str) -> bool {
        let is_core = self.group.is_empty() || self.group == "core";
        is_core && self.kind == "Service" && self.name == name
    }
}

/// Reads the InferencePool in the document `root`. Returns `None` if it has no valid name. What it returns is
/// complete only if no problem was reported.
pub fn read_inference_pool(root: &Node, problems: &mut Problems) -> Option<InferencePool> {
    const SUPPORTED: &str = "inference.networking.k8s.io/v1 or inference.networking.x-k8s.io/v1alpha2";
    let fields = read_fields(root, problems)?;
    let is_supported = |version: &str| match version.split_once('/') {
        Some((group, version)) => is_pool_group(group) && ["v1", "v1alpha2"].contains(&version),
        None => false,
    };
    check_api_version(&fields, is_supported, SUPPORTED, problems);
    let metadata = read_metadata(&fields, problems)?;
    let spec = fields.required("spec", "{ selector: ..., targetPorts: ... }", problems);
    let spec = spec.and_then(|at| at.lenient_fields(problems));
    let Some(spec) = spec else {
        return Some(InferencePool {
            metadata,
            picker: None,
            selector: BTreeMap::new(),
            target_ports: vec![],
        });
    };
    let picker = picker(&spec, problems);
    let selector = selector(&spec, problems).unwrap_or_default();
    let target_ports = target_ports(&spec, problems).unwrap_or_default();
    Some(InferencePool { metadata, picker, selector, target_ports })
}

fn picker(spec: &Fields<'_>, problems: &mut Problems) -> Option<PickerRef> {
    if let Some(at) = spec.non_null("endpointPickerRef") {
        let fields = at.lenient_fields(problems)?;
        let port = fields.required("port", "{ number: PORT }", problems);
        let port = port.and_then(|at| port_number_in(at, problems));
        return picker_ref(&fields, port, problems);
    }
    let fields = spec.non_null("extensionRef")?.lenient_fields(problems)?;
    let port = match fields.non_null("portNumber") {
        Some(at) => port(&at, problems),
        None => Some(DEFAULT_PICKER_PORT),
    };
    picker_ref(&fields, port, problems)
}

fn picker_ref(fields: &Fields<'_>, port: Option<u16>, problems: &mut Problems) -> Option<PickerRef> {
    let name = fields.required("name", "SERVICE", problems)?.text(problems)?;
    let [group, kind] = [("group", ""), ("kind", "Service")].map(|(field, default)| {
        fields.non_null(field).map_or(Some(default), |at| at.raw_text("text", problems))
    });
    Some(PickerRef { group: group?.to_owned(), kind: kind?.to_owned(), name: name.to_owned(), port })
}

fn selector(spec: &Fields<'_>, problems: &mut Problems) -> Option<BTreeMap<String, String>> {
    const HINT: &str = "{ matchLabels: { app: NAME } }";
    let at = spec.required("selector", HINT, problems)?;
    let members = at.members(problems)?;
    let mut labels_at = at.clone();
    for (key, member) in members {
        match key {
            // A label can be called so too, in the flat form.
            "matchLabels" if member.is_null() || matches!(member.node.value, Value::Map(_)) => {
                labels_at = member;
            }
            "matchExpressions" => {
                member.report(problems, "is not supported; write matchLabels");
                return None;
            }
            _ => {}
        }
    }
    let mut labels = BTreeMap::new();
    for (key, member) in labels_at.members(problems)? {
        // A label without a value is a label with an empty one.
        let text = if member.is_null() { Some("") } else { member.text(problems) };
        labels.insert(key.to_owned(), text?.to_owned());
    }
    if labels.is_empty() {
        labels_at
            .report(problems, format!("must not be empty, because it would select every pod; write {HINT}"));
    }
    Some(labels)
}

fn target_ports(spec: &Fields<'_>, problems: &mut Problems) -> Option<Vec<u16>> {
    if spec.non_null("targetPorts").is_none()
        && let Some(at) = spec.non_null("targetPortNumber")
    {
        return Some(vec![port(&at, problems)?]);
    }
    let at = spec.required("targetPorts", "[{ number: PORT }]", problems)?;
    let items = at.items(problems)?;
    if items.is_empty() || items.len() > MAX_TARGET_PORTS {
        at.report(problems, format!("must have 1 to {MAX_TARGET_PORTS} ports, not {}", items.len()));
        return None;
    }
    let ports: Vec<u16> = items.into_iter().filter_map(|item| port_number_in(item, problems)).collect();
    if ports.iter().collect::<BTreeSet<_>>().len() < ports.len() {
        at.report(problems, "names a port twice; remove one of them");
    }
    Some(ports)
}

/// Reads the port in a mapping `{ number: PORT }`.
fn port_number_in(at: Located<'_>, problems: &mut Problems) -> Option<u16> {
    let fields = at.lenient_fields(problems)?;
    fields.required("number", "PORT", problems).and_then(|at| port(&at, problems))
}

fn port(at: &Located<'_>, problems: &mut Problems) -> Option<u16> {
    at.integer(1..=u16::MAX.into(), problems).and_then(|port| port.try_into().ok())
}

#[cfg(test)]
mod tests;
