//! Reads what all objects have in common: kind, metadata and pool reference.

use signalbox_document::{Fields, Located, Node, Problems, closest_match, quoted};
use signalbox_types::PoolId;

use super::Name;
use crate::endpoints_file::scalar;
use crate::endpoints_file::schema::{self, parse_scalar};

const CURRENT: &str = "llm-d.ai/v1alpha2";
const LEGACY: &str = "inference.networking.x-k8s.io/v1alpha2";

/// API groups of InferencePools. The file's pool matches either.
const POOL_GROUPS: [&str; 2] = ["inference.networking.k8s.io", "inference.networking.x-k8s.io"];
const POOL_KIND: &str = "InferencePool";

/// Kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Objective,
    Rewrite,
    /// The predecessor of the other two.
    Model,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Objective, Self::Rewrite, Self::Model];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Objective => "InferenceObjective",
            Self::Rewrite => "InferenceModelRewrite",
            Self::Model => "InferenceModel",
        }
    }

    const fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Objective | Self::Rewrite => &[CURRENT, LEGACY],
            Self::Model => &[LEGACY],
        }
    }
}

/// Reads the kind of the object in the document `root`. Returns it with the object's fields.
pub(super) fn read_kind<'a>(root: &'a Node, problems: &mut Problems) -> Option<(Kind, Fields<'a>)> {
    let unchecked = Located::root(root).lenient_fields(problems)?;
    let names = Kind::ALL.map(Kind::name);
    let at = unchecked.required("kind", &names.join(" or "), problems)?;
    let written = at.raw_text("the kind of an object", problems)?;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == written) else {
        let hint = match closest_match(written, &names) {
            _ if written == schema::KIND => {
                "only the first document can describe a pool; use one file per pool".to_owned()
            }
            Some(similar) => format!("did you mean {}?", quoted(similar)),
            None => format!("use one of: {}", names.join(", ")),
        };
        at.report(problems, format!("{} is not a supported kind; {hint}", quoted(written)));
        return None;
    };
    let fields =
        Located::root(root).fields(&["apiVersion", "kind", "metadata", "spec", "status"], problems)?;
    check_api_version(kind, &fields, problems);
    Some((kind, fields))
}

fn check_api_version(kind: Kind, fields: &Fields<'_>, problems: &mut Problems) {
    let supported = kind.api_versions().join(" or ");
    let Some(at) = fields.required("apiVersion", &supported, problems) else { return };
    match at.raw_text(&supported, problems) {
        Some(written) if !kind.api_versions().contains(&written) => {
            let message = format!("{} is not supported; write apiVersion: {supported}", quoted(written));
            at.report(problems, message);
        }
        _ => {}
    }
}

/// The part of an object's metadata that Signalbox uses.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    pub(super) name: Name<'a>,
    pub(super) namespace: Option<&'a str>,
    pub(super) created_ms: Option<u64>,
}

/// Reads the metadata of an object. Other fields that Kubernetes writes there are ignored.
pub(super) fn metadata<'a>(fields: &Fields<'a>, problems: &mut Problems) -> Option<Metadata<'a>> {
    let metadata = fields.required("metadata", "{ name: NAME }", problems)?.lenient_fields(problems)?;
    let name = metadata.required("name", "NAME", problems).and_then(|at| name(at, problems));
    let namespace = non_null(&metadata, "namespace").and_then(|at| at.text(problems));
    let created_ms = non_null(&metadata, "creationTimestamp").and_then(|at| time(&at, problems));
    Some(Metadata { name: name?, namespace: namespace.filter(|namespace| !namespace.is_empty()), created_ms })
}

fn name<'a>(at: Located<'a>, problems: &mut Problems) -> Option<Name<'a>> {
    let text = at.text(problems)?;
    parse_scalar(&at, text, scalar::name, problems)?;
    Some(Name { at, text })
}

fn time(at: &Located<'_>, problems: &mut Problems) -> Option<u64> {
    let form = "a time such as 2026-01-31T12:00:00Z";
    parse_scalar(at, at.raw_text(form, problems)?, scalar::time_ms, problems)
}

/// Returns the field `name`. A null field counts as missing, as in Kubernetes.
pub(super) fn non_null<'a>(fields: &Fields<'a>, name: &str) -> Option<Located<'a>> {
    fields.optional(name).filter(|at| !at.is_null())
}

/// The pool that an object references.
#[derive(Debug)]
pub(super) struct PoolRef<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
}

impl PoolRef<'_> {
    /// Returns whether the object with this `metadata` references `pool`. An object without a namespace is in
    /// the pool's namespace.
    pub(super) fn references(&self, pool: &PoolId, metadata: &Metadata<'_>) -> bool {
        let Self { group, kind, name } = *self;
        let is_same_namespace = metadata.namespace.is_none_or(|namespace| namespace == pool.namespace);
        is_same_namespace && POOL_GROUPS.contains(&group) && kind == POOL_KIND && name == pool.name
    }

    /// Describes the pool as referenced by an object in `namespace`.
    pub(super) fn describe(&self, namespace: &str) -> String {
        format!("{}.{} {}", self.kind, self.group, quoted(&format!("{namespace}/{}", self.name)))
    }
}

/// Reads the pool reference of an object's spec.
pub(super) fn pool_ref<'a>(spec: &Fields<'a>, problems: &mut Problems) -> Option<PoolRef<'a>> {
    let fields = spec.required("poolRef", "{ name: POOL }", problems)?;
    let fields = fields.fields(&["name", "group", "kind"], problems)?;
    let name = fields.required("name", "POOL", problems).and_then(|at| at.text(problems));
    let [group, kind] = [("group", POOL_GROUPS[0]), ("kind", POOL_KIND)]
        .map(|(field, default)| non_null(&fields, field).map_or(Some(default), |at| at.text(problems)));
    Some(PoolRef { group: group?, kind: kind?, name: name? })
}
