//! Binds TCP ports, with errors that name the flag to change.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;

/// A port cannot be bound.
#[derive(Debug, Error)]
#[error("cannot listen on {address}; choose another port with {flag}, or 0 for a free port")]
pub struct ListenError {
    /// Address that cannot be bound.
    pub address: SocketAddr,
    /// Flag that sets the port.
    pub flag: &'static str,
    /// Cause.
    pub source: io::Error,
}

/// Listens on `address`, whose port is set with `flag`.
///
/// # Errors
/// The address cannot be bound; the error names the address and the flag.
pub async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, flag, source })
}
