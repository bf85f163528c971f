//! Objects of the cluster, reduced to what is used.

mod custom;
mod meta;
mod object_ref;
mod pod;
mod resource;

pub(crate) use self::custom::{CustomObject, ModelEntry, PoolEntry};
pub(crate) use self::object_ref::{ObjectKey, ObjectRef};
pub(crate) use self::pod::{Pod, PodObject, Setting};
pub(crate) use self::resource::{CUSTOM_API_VERSIONS, PODS, Resource, ResourceKind, to_watch};

/// An object that is watched.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Object {
    Pod(Pod),
    Pool(PoolEntry),
    Model(ModelEntry),
}

impl Object {
    pub(crate) fn reference(&self) -> &ObjectRef {
        match self {
            Self::Pod(pod) => &pod.reference,
            Self::Pool(pool) => &pool.reference,
            Self::Model(model) => &model.reference,
        }
    }
}
