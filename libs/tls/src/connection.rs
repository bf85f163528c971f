//! A TCP connection with or without TLS.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::server::Connected;

use crate::client_authority::PresentedChain;
use crate::identity::names_of;
use crate::permits::{Permit, PermitHandle, PermitLimits, Permits};
use crate::preface::AwaitedPreface;

/// A TCP connection with or without TLS.
#[derive(Debug)]
pub struct Connection {
    pub(crate) transport: Transport,
    /// `None` if the server does not bound its connections.
    permit: Option<Permit>,
    /// `None` if the client has begun, or may take as long as it likes.
    preface: Option<AwaitedPreface>,
}

#[derive(Debug)]
pub(crate) enum Transport {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Bounds the connections that a server holds at a time. One beyond a limit takes the place of the oldest, which breaks.
pub fn bounded(
    incoming: impl Stream<Item = io::Result<Connection>>,
    limits: PermitLimits,
) -> impl Stream<Item = io::Result<Connection>> {
    let permits = Permits::new(limits);
    incoming.map(move |accepted| {
        accepted.map(|connection| {
            let permit = permits.issue(connection.client_address());
            Connection { permit: Some(permit), ..connection }
        })
    })
}

/// Breaks connections whose clients do not begin with HTTP/2 within `limit`. A server waits for that as long as it takes: it
/// pings only clients that have begun.
pub fn begun_within(
    limit: Duration,
    incoming: impl Stream<Item = io::Result<Connection>>,
) -> impl Stream<Item = io::Result<Connection>> {
    incoming.map(move |accepted| {
        let preface = || Some(AwaitedPreface::within(limit));
        accepted.map(|connection| Connection { preface: preface(), ..connection })
    })
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
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { transport: Transport::Plain(stream), permit: None, preface: None }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { transport: Transport::Tls(Box::new(stream)), permit: None, preface: None }
    }

    /// Returns the permit of a [`bounded`] connection. One that gives it back stays, however many there are.
    pub fn permit(&self) -> Option<PermitHandle> {
        self.permit.as_ref().map(|permit| permit.handle().clone())
    }

    fn client_address(&self) -> IpAddr {
        let stream = match &self.transport {
            Transport::Plain(stream) => stream,
            Transport::Tls(stream) => stream.get_ref().0,
        };
        // A connection that is closed already has no address.
        stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip())
    }

    /// Returns the certificates that the client presented.
    pub fn chain(&self) -> PresentedChain {
        let Transport::Tls(stream) = &self.transport else { return PresentedChain::default() };
        let presented = stream.get_ref().1.peer_certificates().unwrap_or_default();
        PresentedChain(presented.iter().map(|certificate| certificate.clone().into_owned()).collect())
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerCertificate;

    fn connect_info(&self) -> PeerCertificate {
        let Transport::Tls(stream) = &self.transport else { return PeerCertificate::default() };
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
        let Self { transport, permit, preface } = self.get_mut();
        if permit.as_mut().is_some_and(|permit| permit.poll_revoked(context).is_ready()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let read = match transport {
            Transport::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Transport::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        if let Some(awaited) = preface {
            if awaited.record(buffer.filled().len() - before) {
                *preface = None;
            } else if read.is_pending() {
                ready!(awaited.poll_late(context));
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Transport::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Transport::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.transport {
            Transport::Plain(stream) => stream.is_write_vectored(),
            Transport::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_flush(context),
            Transport::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().transport {
            Transport::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Transport::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::security::Security;

    /// Connects a client that has this long to begin.
    async fn connect(limit: Duration) -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = Box::pin(begun_within(limit, Security::Local.incoming(listener)));
        let client = TcpStream::connect(address).await.unwrap();
        (client, incoming.next().await.unwrap().unwrap())
    }

    #[tokio::test]
    async fn client_that_does_not_begin_is_disconnected() {
        let (mut client, mut connection) = connect(Duration::from_millis(50)).await;
        client.write_all(&[0; 23]).await.unwrap();
        let read = connection.read_to_end(&mut Vec::new()).await;
        assert_eq!(io::ErrorKind::TimedOut, read.unwrap_err().kind());
    }

    #[tokio::test]
    async fn client_that_has_begun_in_time_may_be_silent() {
        // What has arrived counts, however late it is read.
        let (mut client, mut connection) = connect(Duration::ZERO).await;
        client.write_all(&[0; 24]).await.unwrap();
        client.shutdown().await.unwrap();
        let Transport::Plain(stream) = &connection.transport else { panic!("a connection without TLS") };
        stream.readable().await.unwrap();
        let mut read = Vec::new();
        connection.read_to_end(&mut read).await.unwrap();
        assert_eq!(24, read.len());
    }
}
