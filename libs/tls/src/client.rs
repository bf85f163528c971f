//! Opens connections to other processes.

mod unverified;

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use signalbox_types::PeerAddress;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower_service::Service;

use crate::connection::Connection;
use crate::identity::Identity;
use crate::security::Security;

pub(crate) use unverified::unverified_client_config;

/// Why a connection could not be opened.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The connection would leave this machine without TLS.
    #[error(
        "refusing to connect to {0} without TLS, because it is on another machine; give --tls-ca, --tls-cert and --tls-key, or --plaintext if the network itself is trusted"
    )]
    Exposed(PeerAddress),
    /// The connection failed, with the reason.
    #[error("{0}")]
    Failed(String),
}

impl From<tonic::transport::Error> for ConnectError {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Failed(root_cause(&error).to_string())
    }
}

/// Returns the innermost source of `error`. For a connection that was refused or broke, it says why.
pub fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut deepest = error;
    while let Some(deeper) = deepest.source() {
        deepest = deeper;
    }
    deepest
}

impl Security {
    /// Checks that it is safe to connect to `peer`.
    ///
    /// # Errors
    /// [`ConnectError::Exposed`] when it is not.
    pub fn check_peer_address(&self, peer: &PeerAddress) -> Result<(), ConnectError> {
        match self {
            Self::Local if !peer.is_loopback() => Err(ConnectError::Exposed(peer.clone())),
            Self::Local | Self::Plaintext | Self::Mutual(_) => Ok(()),
        }
    }

    /// Connects to `peer`. `settings` adds timeouts and keep-alives; it must not change the destination.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        peer: &PeerAddress,
        settings: impl FnOnce(Endpoint) -> Endpoint + Send,
    ) -> Result<Channel, ConnectError> {
        self.check_peer_address(peer)?;
        let tls = match self {
            Self::Local | Self::Plaintext => None,
            Self::Mutual(identity) => Some(ClientTls::Mutual(Arc::clone(identity))),
        };
        // The connector handles TLS: for the channel the connection is plaintext.
        let endpoint = settings(Endpoint::from_shared(format!("http://{peer}"))?);
        Ok(endpoint.connect_with_connector(Dialer { peer: peer.clone(), tls }).await?)
    }
}

/// Returns a channel to `peer` over TLS that accepts any certificate, as gateways do with an endpoint picker.
/// It connects when it is first used. `settings` adds timeouts and keep-alives.
///
/// # Errors
/// [`ConnectError`] when the address is not valid.
pub fn connect_unverified(
    peer: &PeerAddress,
    settings: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, ConnectError> {
    let config = unverified_client_config(None).map_err(|error| ConnectError::Failed(error.to_string()))?;
    let tls = Some(ClientTls::Unverified(Arc::new(config)));
    let endpoint = settings(Endpoint::from_shared(format!("http://{peer}"))?);
    Ok(endpoint.connect_with_connector_lazy(Dialer { peer: peer.clone(), tls }))
}

/// Opens each connection of a channel to one peer.
struct Dialer {
    peer: PeerAddress,
    tls: Option<ClientTls>,
}

/// The TLS of an outgoing connection.
#[derive(Clone)]
enum ClientTls {
    /// Both sides authenticate.
    Mutual(Arc<Identity>),
    /// The peer presents a certificate, and any is accepted.
    Unverified(Arc<ClientConfig>),
}

impl ClientTls {
    fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Mutual(identity) => identity.configs().client,
            Self::Unverified(config) => Arc::clone(config),
        }
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Connection>>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(dial(self.peer.clone(), self.tls.clone()))
    }
}

async fn dial(peer: PeerAddress, tls: Option<ClientTls>) -> io::Result<TokioIo<Connection>> {
    let stream = TcpStream::connect(peer.to_string()).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else { return Ok(TokioIo::new(Connection::plain(stream))) };
    let name = ServerName::try_from(peer.host().to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TlsConnector::from(tls.config()).connect(name, stream).await?;
    Ok(TokioIo::new(Connection::tls(TlsStream::Client(stream))))
}
