//! What all objects have alike: their kind, their metadata, and the pool that they are about.

use signalbox_document::{Fields, Located, Node, Problems, quoted, similar};
use signalbox_types::PoolId;

use super::Name;
use crate::endpoints_file::scalar;
use crate::endpoints_file::schema::{self, valid};

const CURRENT: &str = "llm-d.ai/v1alpha2";
const LEGACY: &str = "inference.networking.x-k8s.io/v1alpha2";

/// The groups that an InferencePool may be of; a file's pool is taken for one of either.
const POOL_GROUPS: [&str; 2] = ["inference.networking.k8s.io", "inference.networking.x-k8s.io"];
const POOL_KIND: &str = "InferencePool";

/// What an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Objective,
    Rewrite,
    /// What was there before the two.
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

/// What the object in the document `root` is, and its fields.
pub(super) fn open<'a>(root: &'a Node, problems: &mut Problems) -> Option<(Kind, Fields<'a>)> {
    let any = Located::root(root).some_fields(problems)?;
    let names = Kind::ALL.map(Kind::name);
    let at = any.required("kind", &names.join(", "), problems)?;
    let written = at.written("the kind of an object", problems)?;
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == written) else {
        let mend = match similar(written, &names) {
            _ if written == schema::KIND => "a file has one pool, which comes first".to_owned(),
            Some(similar) => format!("did you mean {}?", quoted(similar)),
            None => format!("after the pool may come: {}", names.join(", ")),
        };
        at.report(problems, format!("{} is not known here; {mend}", quoted(written)));
        return None;
    };
    let fields =
        Located::root(root).fields(&["apiVersion", "kind", "metadata", "spec", "status"], problems)?;
    check_api_version(kind, &fields, problems);
    Some((kind, fields))
}

fn check_api_version(kind: Kind, fields: &Fields<'_>, problems: &mut Problems) {
    let known = kind.api_versions().join(" or ");
    let Some(at) = fields.required("apiVersion", &known, problems) else { return };
    match at.written(&known, problems) {
        Some(written) if !kind.api_versions().contains(&written) => {
            let message = format!("{} is not known; write apiVersion: {known}", quoted(written));
            at.report(problems, message);
        }
        _ => {}
    }
}

/// What Kubernetes says of an object, so far as it matters.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    pub(super) name: Name<'a>,
    pub(super) namespace: Option<&'a str>,
    pub(super) created_ms: Option<u64>,
}

/// The metadata of the object with these fields. Most of what Kubernetes may write there is not looked at.
pub(super) fn metadata<'a>(fields: &Fields<'a>, problems: &mut Problems) -> Option<Metadata<'a>> {
    let metadata = fields.required("metadata", "{ name: NAME }", problems)?.some_fields(problems)?;
    let name = metadata.required("name", "NAME", problems).and_then(|at| name(at, problems));
    let namespace = given(&metadata, "namespace").and_then(|at| at.text(problems));
    let created_ms = given(&metadata, "creationTimestamp").and_then(|at| time(&at, problems));
    Some(Metadata { name: name?, namespace: namespace.filter(|namespace| !namespace.is_empty()), created_ms })
}

fn name<'a>(at: Located<'a>, problems: &mut Problems) -> Option<Name<'a>> {
    let text = at.text(problems)?;
    valid(&at, text, scalar::name, problems)?;
    Some(Name { at, text })
}

fn time(at: &Located<'_>, problems: &mut Problems) -> Option<u64> {
    let form = "a time such as 2026-01-31T12:00:00Z";
    valid(at, at.written(form, problems)?, scalar::time_ms, problems)
}

/// The field called `name`; as in Kubernetes, one of nothing is as good as none.
pub(super) fn given<'a>(fields: &Fields<'a>, name: &str) -> Option<Located<'a>> {
    fields.optional(name).filter(|at| !at.is_nothing())
}

/// The pool that an object is about.
#[derive(Debug)]
pub(super) struct PoolRef<'a> {
    group: &'a str,
    kind: &'a str,
    name: &'a str,
}

impl PoolRef<'_> {
    /// Whether it is `pool`, for an object with this `metadata`: one without a namespace is in the pool's.
    pub(super) fn is_of(&self, pool: &PoolId, metadata: &Metadata<'_>) -> bool {
        let Self { group, kind, name } = *self;
        let is_near = metadata.namespace.is_none_or(|namespace| namespace == pool.namespace);
        is_near && POOL_GROUPS.contains(&group) && kind == POOL_KIND && name == pool.name
    }

    /// As it is shown for an object in `namespace`.
    pub(super) fn shown(&self, namespace: &str) -> String {
        format!("{}.{} {}", self.kind, self.group, quoted(&format!("{namespace}/{}", self.name)))
    }
}

/// The pool that the object with this spec is about.
pub(super) fn pool_ref<'a>(spec: &Fields<'a>, problems: &mut Problems) -> Option<PoolRef<'a>> {
    let fields = spec.required("poolRef", "{ name: POOL }", problems)?;
    let fields = fields.fields(&["name", "group", "kind"], problems)?;
    let name = fields.required("name", "POOL", problems).and_then(|at| at.text(problems));
    let [group, kind] = [("group", POOL_GROUPS[0]), ("kind", POOL_KIND)]
        .map(|(field, default)| given(&fields, field).map_or(Some(default), |at| at.text(problems)));
    Some(PoolRef { group: group?, kind: kind?, name: name? })
}
