//! A process's TLS identity, as its files define it at the moment.

mod files;
mod peer_verifier;

use crate::pem::FileError;
use crate::reload::Reloading;

use files::Configs;
pub(crate) use files::IdentityFiles;
pub(crate) use peer_verifier::AllowedNames;
pub use peer_verifier::PeerNotAllowed;

/// A process's certificate and key, and the peers that it accepts.
#[derive(Debug)]
pub struct Identity(Reloading<IdentityFiles>);

impl Identity {
    pub(crate) fn load(files: IdentityFiles) -> Result<Self, FileError> {
        Reloading::load(files).map(Self)
    }

    /// Returns the configurations for a new connection: from the files as they are now, or from their last
    /// valid version.
    pub(crate) fn configs(&self) -> Configs {
        self.0.current()
    }

    /// Makes the next connection check the files.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        self.0.expire();
    }
}
