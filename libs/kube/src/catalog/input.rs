//! What a catalog learns.

use std::collections::BTreeSet;

use crate::objects::{Object, Resource};

/// The namespaces that one watch covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// All namespaces.
    All,
    /// One namespace.
    Namespace(Box<str>),
}

impl Scope {
    /// Returns whether the scope includes `namespace`.
    pub(crate) fn includes(&self, namespace: &str) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(name) => **name == *namespace,
        }
    }

    /// Returns the namespace, or `None` for all.
    pub(crate) fn namespace(&self) -> Option<&str> {
        match self {
            Self::All => None,
            Self::Namespace(name) => Some(name),
        }
    }
}

/// Something that a catalog learns.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// These resources, and only these, are watched from now on.
    Watched(BTreeSet<Resource>),
    /// An object was created or changed.
    Applied(Resource, Object),
    /// An object was deleted; this is how it was last.
    Deleted(Resource, Object),
    /// These are all objects of a resource in a scope.
    Listed { resource: Resource, scope: Scope, objects: Vec<Object> },
    /// The objects of a resource in a scope may not be listed.
    Refused { resource: Resource, scope: Scope },
}
