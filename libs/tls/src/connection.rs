//! A TCP connection with or without TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use crate::client_authority::PresentedChain;
use crate::identity::names_of;

/// A TCP connection with or without TLS.
#[derive(Debug)]
pub enum Connection {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// The names in the certificate that the process at the other end of a connection presented. Requests carry it as an
/// extension. Whoever presented none has no names.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificate {
    pub(crate) names: Arc<[String]>,
}

impl PeerCertificate {
    /// Returns the DNS names and URIs.
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl Connection {
    /// Returns the certificates that the client presented.
    pub fn chain(&self) -> PresentedChain {
        let Self::Tls(stream) = self else { return PresentedChain::default() };
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        PresentedChain(presented.iter().map(|certificate| certificate.clone().into_owned()).collect())
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerCertificate;

    fn connect_info(&self) -> PeerCertificate {
        let Self::Tls(stream) = self else { return PeerCertificate::default() };
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        // The handshake has parsed the certificate.
        let names = certificate.and_then(|certificate| names_of(certificate).ok());
        PeerCertificate { names: names.unwrap_or_default() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
