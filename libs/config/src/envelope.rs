//! The file as a whole.

use signalbox_document::{Fields, Located, Node, quoted};
use signalbox_schedule::Weighted;

use crate::findings::Findings;
use crate::parameters::mend;
use crate::{plugins, profile, surroundings};

pub(crate) const KIND: &str = "EndpointPickerConfig";
const API_VERSION: &str = "llm-d.ai/v1alpha1";
const LEGACY_API_VERSION: &str = "inference.networking.x-k8s.io/v1alpha1";

const FIELDS: [&str; 10] = [
    "apiVersion",
    "kind",
    "featureGates",
    "plugins",
    "schedulingProfiles",
    "requestHandler",
    "dataLayer",
    "flowControl",
    "saturationDetector",
    "parser",
];

/// The name of the profile and what it says.
pub(crate) fn configuration(root: &Node, findings: &mut Findings) -> Option<(String, Weighted)> {
    let fields = Located::root(root).fields(&FIELDS, &mut findings.problems)?;
    api_version(&fields, findings);
    if let Some(at) = fields.required("kind", KIND, &mut findings.problems)
        && let Some(written) = at.written(KIND, &mut findings.problems)
        && written != KIND
    {
        findings.problem(&at, format!("{} is not known; write kind: {KIND}", quoted(written)));
    }
    feature_gates(&fields, findings);
    let plugins = plugins::read(&fields, findings);
    surroundings::check(&fields, &plugins, findings);
    profile::read(&fields, &plugins, findings)
}

fn api_version(fields: &Fields<'_>, findings: &mut Findings) {
    let Some(at) = fields.required("apiVersion", API_VERSION, &mut findings.problems) else { return };
    match at.written(API_VERSION, &mut findings.problems) {
        None | Some(API_VERSION) => {}
        Some(LEGACY_API_VERSION) => {
            findings.warn(&at, format!("{LEGACY_API_VERSION} is deprecated; write {API_VERSION}"));
        }
        Some(written) => {
            let message = format!("{} is not known; write apiVersion: {API_VERSION}", quoted(written));
            findings.problem(&at, message);
        }
    }
}

fn feature_gates(fields: &Fields<'_>, findings: &mut Findings) {
    const FLOW_CONTROL: &str = "flowControl";
    const POPULATE: &str = "haPopulateNonLeaderDatastore";
    let gates = fields.optional("featureGates").filter(|at| !at.is_nothing());
    for gate in gates.and_then(|at| at.items(&mut findings.problems)).unwrap_or_default() {
        let Some(text) = gate.text(&mut findings.problems) else { continue };
        let (name, value) = text.split_once('=').unwrap_or((text, "true"));
        match (name, value) {
            (FLOW_CONTROL, "true") => {
                let message = "flow control is not there yet; remove it, or write flowControl=false";
                findings.problem(&gate, message);
            }
            (FLOW_CONTROL, "false") => findings.ignore(&gate, "flow control is not there yet"),
            (POPULATE, "true" | "false") => {
                findings.ignore(&gate, "all replicas follow the pool, and none leads");
            }
            (FLOW_CONTROL | POPULATE, _) => {
                findings.problem(&gate, format!("{} is no boolean; write {name}=false", quoted(value)));
            }
            _ => {
                let mend = mend(name, &[FLOW_CONTROL, POPULATE]);
                findings.problem(&gate, format!("{} is not known; {mend}", quoted(name)));
            }
        }
    }
}
