//! Mutual TLS between Signalbox's own processes: who listens and who connects both show a certificate of the same authority, and both
//! are checked by name. The files are read again when they change; connections that are open stay.
//!
//! Others, such as gateways, are served over TLS too, and not asked who they are ([`Serving`]).
//!
//! Without TLS, processes speak on one machine only, unless they are told otherwise.

mod believing;
mod connect;
mod connection;
mod files;
mod flags;
mod identity;
mod incoming;
mod offer;
mod peers;
mod reread;
mod serving;
#[cfg(test)]
mod tests;

pub use connect::{ConnectError, connect_unverified, root_cause};
pub use connection::Connection;
pub use files::FileError;
pub use flags::TlsFlags;
pub use identity::Identity;
pub use offer::{CipherSuites, MinVersion, Offer, OfferError};
pub use peers::NoPeer;
pub use serving::{SelfSignedError, Serving, Shown};

use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

/// How a process speaks with the pool's other processes.
#[derive(Clone, Debug)]
pub enum Security {
    /// Without TLS, on this machine only.
    Local,
    /// Without TLS, wherever they are.
    Plaintext,
    /// With TLS on both sides.
    Mutual(Arc<Identity>),
}

/// A process would be open to anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "whoever reaches {0} could change what all replicas decide by: give --tls-ca, --tls-cert and --tls-key, or --plaintext where the network itself is trusted, or listen on 127.0.0.1"
)]
pub struct Exposed(pub SocketAddr);

impl Security {
    /// What `flags` say.
    ///
    /// # Errors
    /// [`FileError`] when a file is not what it should be.
    pub fn of(flags: &TlsFlags) -> Result<Self, FileError> {
        match flags.identity()? {
            Some(identity) => Ok(Self::Mutual(Arc::new(identity))),
            None if flags.plaintext => Ok(Self::Plaintext),
            None => Ok(Self::Local),
        }
    }

    /// Whether it is safe to listen at `address`.
    ///
    /// # Errors
    /// [`Exposed`] when it is not.
    pub fn listens_at(&self, address: SocketAddr) -> Result<(), Exposed> {
        match self {
            Self::Local if !address.ip().is_loopback() => Err(Exposed(address)),
            Self::Local | Self::Plaintext | Self::Mutual(_) => Ok(()),
        }
    }
}
