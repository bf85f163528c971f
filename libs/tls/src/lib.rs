//! TLS for Signalbox's processes.
//!
//! Between each other, they use mutual TLS ([`Security`]): listener and client both present a certificate of
//! the same authority, and each checks the other's name. A server also checks which [`PeerRole`] a client may
//! have. The files are reloaded when they change; open connections stay open.
//!
//! Other clients, such as gateways, are served over TLS without authentication ([`ServerTls`]), or verified by
//! [`ClientAuthority`] when they send a request.
//!
//! `https` metrics pages of model servers are read with [`PageTls`].
//!
//! Without TLS, processes communicate on one machine only, unless `--plaintext` allows more.

mod allowed_peer;
mod client;
mod client_authority;
mod connection;
#[cfg(test)]
mod echo_server;
mod flags;
mod identity;
mod metrics_pages;
#[cfg(test)]
mod mutual_tls_tests;
mod parameters;
mod pem;
mod permits;
mod preface;
mod reload;
mod security;
mod server;
mod signatures;

pub use allowed_peer::{AllowedPeer, AllowedPeerError, PeerRole};
pub use client::{ConnectError, connect_unverified, root_cause};
pub use client_authority::{ClientAuthority, PresentedChain, Subject};
pub use connection::{Connection, PeerCertificate, begun_within, bounded};
pub use flags::TlsFlags;
pub use identity::{Identity, PeerNotAllowed};
pub use metrics_pages::{PageTls, PageTlsError, PageTlsFiles};
pub use parameters::{CipherSuites, MinVersion, TlsParameterError, TlsParameters};
pub use pem::FileError;
pub use permits::{PermitHandle, PermitLimits};
pub use security::{ExposedListener, Security};
pub use server::{SelfSignedError, ServerCertificate, ServerTls};
