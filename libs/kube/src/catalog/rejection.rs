//! Objects that are left out, and why.

use crate::objects::ObjectRef;

/// Why an object, or a part of it, is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// The object cannot be read.
    Invalid,
    /// An older object has the same name.
    NameTaken,
    /// An older pool has the same port. A pool that names another Service is served all the same.
    PortTaken,
    /// The Service does not open the pool's port.
    PortNotOpen,
    /// A value in an annotation or a label of a pod is not usable; the message says what applies instead.
    InvalidSetting,
    /// Another pod has the same address.
    AddressTaken,
}

impl Reason {
    /// Returns the reason as Events and metrics name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid",
            Self::NameTaken => "NameTaken",
            Self::PortTaken => "PortTaken",
            Self::PortNotOpen => "PortNotOpen",
            Self::InvalidSetting => "InvalidSetting",
            Self::AddressTaken => "AddressTaken",
        }
    }
}

/// An object that is left out wholly or in part.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Rejection {
    pub(crate) object: ObjectRef,
    pub(crate) reason: Reason,
    /// What is wrong, and how to fix it.
    pub(crate) message: String,
}

impl Rejection {
    pub(crate) fn new(object: &ObjectRef, reason: Reason, message: impl Into<String>) -> Self {
        Self { object: object.clone(), reason, message: message.into() }
    }
}
