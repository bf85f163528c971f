//! A process's TLS identity, as its files define it at the moment.

mod files;
mod peer_verifier;

use std::sync::Arc;

use crate::allowed_peer::PeerRole;
use crate::pem::FileError;
use crate::reload::Reloading;

use files::Configs;
pub(crate) use files::IdentityFiles;
pub(crate) use peer_verifier::AllowedNames;
pub use peer_verifier::PeerNotAllowed;
pub(crate) use peer_verifier::names_of;

/// A process's certificate and key, and the peers that it accepts.
#[derive(Debug)]
pub struct Identity {
    files: Reloading<IdentityFiles>,
    allowed_names: AllowedNames,
}

impl Identity {
    pub(crate) fn load(files: IdentityFiles) -> Result<Self, FileError> {
        let allowed_names = files.allowed_names.clone();
        Ok(Self { files: Reloading::load(files)?, allowed_names })
    }

    /// Returns the configurations for a new connection: from the files as they are now, or from their last
    /// valid version.
    pub(crate) fn configs(&self) -> Configs {
        self.files.current()
    }

    /// Checks that a client whose certificate has these names may have one of `roles`.
    pub(crate) fn authorize(
        &self,
        names: &Arc<[String]>,
        roles: &'static [PeerRole],
    ) -> Result<(), PeerNotAllowed> {
        self.allowed_names.authorize(names, roles)
    }

    /// Makes the next connection check the files.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        self.files.expire();
    }
}
