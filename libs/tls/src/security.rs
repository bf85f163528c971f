//! How a process secures its connections to the pool's other processes.

use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;

use crate::allowed_peer::PeerRole;
use crate::connection::PeerCertificate;
use crate::flags::TlsFlags;
use crate::identity::{Identity, PeerNotAllowed};
use crate::pem::FileError;

/// How a process secures its connections to the pool's other processes.
#[derive(Clone, Debug)]
pub enum Security {
    /// Without TLS, on this machine only.
    Local,
    /// Without TLS, on any machine.
    Plaintext,
    /// With mutual TLS.
    Mutual(Arc<Identity>),
}

/// A process would listen without TLS at an address that other machines reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "refusing to listen on {0} without TLS, because any client could influence the decisions of all replicas; give --tls-ca, --tls-cert and --tls-key, or --plaintext if the network itself is trusted, or listen on 127.0.0.1"
)]
pub struct ExposedListener(pub SocketAddr);

impl Security {
    /// Returns the security that `flags` ask for.
    ///
    /// # Errors
    /// [`FileError`] when a TLS file cannot be used.
    pub fn from_flags(flags: &TlsFlags) -> Result<Self, FileError> {
        match flags.identity()? {
            Some(identity) => Ok(Self::Mutual(Arc::new(identity))),
            None if flags.plaintext => Ok(Self::Plaintext),
            None => Ok(Self::Local),
        }
    }

    /// Checks that a client with this certificate may have one of `roles`. Without TLS, or without `--tls-peer`,
    /// every client has every role.
    ///
    /// # Errors
    /// [`PeerNotAllowed`] when it may not.
    pub fn authorize(
        &self,
        client: &PeerCertificate,
        roles: &'static [PeerRole],
    ) -> Result<(), PeerNotAllowed> {
        match self {
            Self::Local | Self::Plaintext => Ok(()),
            Self::Mutual(identity) => identity.authorize(&client.names, roles),
        }
    }

    /// Checks that it is safe to listen on `address`.
    ///
    /// # Errors
    /// [`ExposedListener`] when it is not.
    pub fn check_listen_address(&self, address: SocketAddr) -> Result<(), ExposedListener> {
        match self {
            Self::Local if !address.ip().is_loopback() => Err(ExposedListener(address)),
            Self::Local | Self::Plaintext | Self::Mutual(_) => Ok(()),
        }
    }
}
