//! Kinds of objects and the API versions that define them.

use signalbox_document::{Fields, Located, Node, Problems, closest_match, quoted};

const CURRENT: &str = "llm-d.ai/v1alpha2";
const LEGACY: &str = "inference.networking.x-k8s.io/v1alpha2";

/// API group of InferencePools since their version 1. Manifests of version `v1alpha2` also exist under it,
/// although no release defined them.
const POOL_GROUP: &str = "inference.networking.k8s.io";
const ALPHA_UNDER_POOL_GROUP: &str = "inference.networking.k8s.io/v1alpha2";

/// Kind of an object with model rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    /// InferenceObjective: a named priority.
    Objective,
    /// InferenceModelRewrite: replaces model names.
    Rewrite,
    /// InferenceModel: the predecessor of the other two.
    Model,
}

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Objective, Self::Rewrite, Self::Model];

    /// Returns the kind's name in Kubernetes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Objective => "InferenceObjective",
            Self::Rewrite => "InferenceModelRewrite",
            Self::Model => "InferenceModel",
        }
    }

    /// Returns the API versions to use, for messages.
    const fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Objective | Self::Rewrite => &[CURRENT, LEGACY],
            Self::Model => &[LEGACY],
        }
    }

    fn is_defined_in(self, api_version: &str) -> bool {
        self.api_versions().contains(&api_version) || api_version == ALPHA_UNDER_POOL_GROUP
    }
}

/// Reads the kind of the object in the document `root`. Returns it with the object's fields.
pub(crate) fn read_kind<'a>(root: &'a Node, problems: &mut Problems) -> Option<(ObjectKind, Fields<'a>)> {
    let unchecked = Located::root(root).lenient_fields(problems)?;
    let names = ObjectKind::ALL.map(ObjectKind::name);
    let at = unchecked.required("kind", &names.join(" or "), problems)?;
    let written = at.raw_text("the kind of an object", problems)?;
    let Some(kind) = ObjectKind::ALL.into_iter().find(|kind| kind.name() == written) else {
        let hint = match closest_match(written, &names) {
            Some(similar) => format!("did you mean {}?", quoted(similar)),
            None => format!("use one of: {}", names.join(", ")),
        };
        at.report(problems, format!("{} is not a supported kind; {hint}", quoted(written)));
        return None;
    };
    let fields = read_fields(root, problems)?;
    let is_supported = |version: &str| kind.is_defined_in(version);
    check_api_version(&fields, is_supported, &kind.api_versions().join(" or "), problems);
    Some((kind, fields))
}

/// Reads the top-level fields of the object in the document `root`.
pub(crate) fn read_fields<'a>(root: &'a Node, problems: &mut Problems) -> Option<Fields<'a>> {
    Located::root(root).fields(&["apiVersion", "kind", "metadata", "spec", "status"], problems)
}

/// Reports an API version that is not supported. `hint` names those that are.
pub(crate) fn check_api_version(
    fields: &Fields<'_>,
    is_supported: impl Fn(&str) -> bool,
    hint: &str,
    problems: &mut Problems,
) {
    let Some(at) = fields.required("apiVersion", hint, problems) else { return };
    match at.raw_text(hint, problems) {
        Some(written) if !is_supported(written) => {
            at.report(problems, format!("{} is not supported; write apiVersion: {hint}", quoted(written)));
        }
        _ => {}
    }
}

/// Returns whether `group` is an API group of InferencePools.
pub(crate) fn is_pool_group(group: &str) -> bool {
    group == POOL_GROUP || LEGACY.strip_prefix(group).is_some_and(|version| version.starts_with('/'))
}

/// The group of pools that a reference means if it names none.
pub(crate) const DEFAULT_POOL_GROUP: &str = POOL_GROUP;
