//! Reads references to pools.

use signalbox_document::{Fields, Problems, quoted};
use signalbox_types::PoolId;

use crate::kind::{DEFAULT_POOL_GROUP, is_pool_group};

pub(crate) const POOL_KIND: &str = "InferencePool";

/// The pool that an object references. It is in the object's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolRef {
    group: String,
    kind: String,
    name: String,
}

impl PoolRef {
    /// Returns the pool that an object in `namespace` references, or `None` if it references something that
    /// is not an InferencePool. Both API groups of InferencePools count.
    pub fn pool_in(&self, namespace: &str) -> Option<PoolId> {
        let is_pool = is_pool_group(&self.group) && self.kind == POOL_KIND;
        is_pool.then(|| PoolId { namespace: namespace.to_owned(), name: self.name.clone() })
    }

    /// Describes the pool as referenced by an object in `namespace`.
    pub fn describe(&self, namespace: &str) -> String {
        format!("{}.{} {}", self.kind, self.group, quoted(&format!("{namespace}/{}", self.name)))
    }
}

/// Reads the pool reference of an object's spec.
pub(crate) fn read_pool_ref(spec: &Fields<'_>, problems: &mut Problems) -> Option<PoolRef> {
    let fields = spec.required("poolRef", "{ name: POOL }", problems)?;
    let fields = fields.fields(&["name", "group", "kind"], problems)?;
    let name = fields.required("name", "POOL", problems).and_then(|at| at.text(problems));
    let [group, kind] = [("group", DEFAULT_POOL_GROUP), ("kind", POOL_KIND)]
        .map(|(field, default)| fields.non_null(field).map_or(Some(default), |at| at.text(problems)));
    Some(PoolRef { group: group?.to_owned(), kind: kind?.to_owned(), name: name?.to_owned() })
}
