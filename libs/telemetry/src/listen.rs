//! Ports, and what to do when one is taken.

use std::io;
use std::net::SocketAddr;

use thiserror::Error;
use tokio::net::TcpListener;

/// A port cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}; choose another port with {flag}, 0 is any free one")]
pub struct ListenError {
    /// Which.
    pub address: SocketAddr,
    /// By which flag another one is chosen.
    pub flag: &'static str,
    /// Why.
    pub source: io::Error,
}

/// Listens on `address`, which was chosen by `flag`.
///
/// # Errors
/// [`ListenError`], which names both.
pub async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|source| ListenError { address, flag, source })
}
