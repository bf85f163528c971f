//! Names an object of the cluster.

use kube::api::ObjectMeta;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectKey {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
}

/// One particular object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectRef {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) key: ObjectKey,
    pub(crate) uid: Box<str>,
}

impl ObjectRef {
    pub(crate) fn new(api_version: &'static str, kind: &'static str, meta: &ObjectMeta) -> Self {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        let key = ObjectKey { namespace: text(&meta.namespace), name: text(&meta.name) };
        Self { api_version, kind, key, uid: text(&meta.uid) }
    }
}
