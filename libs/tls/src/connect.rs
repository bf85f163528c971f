//! Connections to others.

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

use crate::Security;
use crate::believing::believing;
use crate::connection::Connection;
use crate::identity::Identity;

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// It would be one without TLS to another machine.
    #[error(
        "{0} is not on this machine: give --tls-ca, --tls-cert and --tls-key, or --plaintext where the network itself is trusted"
    )]
    Exposed(PeerAddress),
    /// It cannot be made; why, in words.
    #[error("{0}")]
    Failed(String),
}

impl From<tonic::transport::Error> for ConnectError {
    fn from(error: tonic::transport::Error) -> Self {
        Self::Failed(root_cause(&error).to_string())
    }
}

/// What lies deepest in an error; of a connection that is refused or broke, this says why.
pub fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut deepest = error;
    while let Some(deeper) = deepest.source() {
        deepest = deeper;
    }
    deepest
}

impl Security {
    /// Whether it is safe to connect to `peer`.
    ///
    /// # Errors
    /// [`ConnectError::Exposed`] when it is not.
    pub fn connects_to(&self, peer: &PeerAddress) -> Result<(), ConnectError> {
        match self {
            Self::Local if !peer.is_loopback() => Err(ConnectError::Exposed(peer.clone())),
            Self::Local | Self::Plaintext | Self::Mutual(_) => Ok(()),
        }
    }

    /// A connection to `peer`, made as `settings` say: limits and signs of life, not where it goes.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(
        &self,
        peer: &PeerAddress,
        settings: impl FnOnce(Endpoint) -> Endpoint + Send,
    ) -> Result<Channel, ConnectError> {
        self.connects_to(peer)?;
        let terms = match self {
            Self::Local | Self::Plaintext => None,
            Self::Mutual(identity) => Some(Terms::Mutual(Arc::clone(identity))),
        };
        // What is inside TLS is for the connector to know: to the channel it is plain.
        let endpoint = settings(Endpoint::from_shared(format!("http://{peer}"))?);
        Ok(endpoint.connect_with_connector(Dialler { peer: peer.clone(), terms }).await?)
    }
}

/// A connection to `peer` over TLS that believes whatever certificate is shown, as gateways do with an endpoint picker. It is made when it
/// is first needed, as `settings` say.
///
/// # Errors
/// [`ConnectError`] when there is no connecting to such an address.
pub fn connect_unverified(
    peer: &PeerAddress,
    settings: impl FnOnce(Endpoint) -> Endpoint,
) -> Result<Channel, ConnectError> {
    let config = believing().map_err(|error| ConnectError::Failed(error.to_string()))?;
    let terms = Some(Terms::Unverified(Arc::new(config)));
    let endpoint = settings(Endpoint::from_shared(format!("http://{peer}"))?);
    Ok(endpoint.connect_with_connector_lazy(Dialler { peer: peer.clone(), terms }))
}

/// Makes connections to one peer, again and again.
struct Dialler {
    peer: PeerAddress,
    terms: Option<Terms>,
}

/// By which TLS is spoken with a peer.
#[derive(Clone)]
enum Terms {
    /// Both sides show who they are.
    Mutual(Arc<Identity>),
    /// The peer does, and is believed.
    Unverified(Arc<ClientConfig>),
}

impl Terms {
    fn config(&self) -> Arc<ClientConfig> {
        match self {
            Self::Mutual(identity) => identity.configs().client,
            Self::Unverified(config) => Arc::clone(config),
        }
    }
}

impl Service<Uri> for Dialler {
    type Response = TokioIo<Connection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Connection>>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(dial(self.peer.clone(), self.terms.clone()))
    }
}

async fn dial(peer: PeerAddress, terms: Option<Terms>) -> io::Result<TokioIo<Connection>> {
    let stream = TcpStream::connect(peer.to_string()).await?;
    stream.set_nodelay(true)?;
    let Some(terms) = terms else { return Ok(TokioIo::new(Connection::Plain(stream))) };
    let name = ServerName::try_from(peer.host().to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let stream = TlsConnector::from(terms.config()).connect(name, stream).await?;
    Ok(TokioIo::new(Connection::Tls(Box::new(TlsStream::Client(stream)))))
}
