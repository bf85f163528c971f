//! Accepts connections and performs their TLS handshakes.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use super::{ServerCertificate, ServerTls};
use crate::connection::Connection;
use crate::identity::Identity;
use crate::permits::{PermitLimits, Permits};
use crate::security::Security;

/// Accepted connections that can queue until they are served, and failures that can queue until they are
/// logged.
const QUEUE_LENGTH: usize = 16;

/// How many handshakes may be open at a time.
const OPEN_HANDSHAKES: PermitLimits = PermitLimits { total: 4_096, per_address: 256 };

/// Time limit for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause before the next attempt when the system cannot accept a connection.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Minimum time between two log lines about failed handshakes.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

type ConnectionSender = mpsc::Sender<io::Result<Connection>>;

/// The TLS of an incoming connection.
#[derive(Clone, Debug)]
enum AcceptTls {
    /// Both sides authenticate.
    Mutual(Arc<Identity>),
    /// Only the server presents a certificate.
    ServerOnly(Arc<ServerCertificate>),
}

impl AcceptTls {
    fn config(&self) -> Arc<ServerConfig> {
        match self {
            Self::Mutual(identity) => identity.configs().server,
            Self::ServerOnly(certificate) => certificate.config(),
        }
    }
}

impl Security {
    /// Returns the connections that `listener` accepts, each after its handshake. A failed handshake is
    /// logged with its reason and affects no other connection. Dropping the stream closes the port.
    pub fn incoming(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let tls = match self {
            Self::Local | Self::Plaintext => None,
            Self::Mutual(identity) => Some(AcceptTls::Mutual(identity)),
        };
        incoming(listener, tls)
    }
}

impl ServerTls {
    /// Returns the connections that `listener` accepts; see [`Security::incoming`].
    pub fn incoming(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let tls = match self {
            Self::Plaintext => None,
            Self::Tls(certificate) => Some(AcceptTls::ServerOnly(certificate)),
        };
        incoming(listener, tls)
    }
}

fn incoming(listener: TcpListener, tls: Option<AcceptTls>) -> ReceiverStream<io::Result<Connection>> {
    let (sender, connections) = mpsc::channel(QUEUE_LENGTH);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, tls, &sender) => {}
            () = sender.closed() => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept(listener: TcpListener, tls: Option<AcceptTls>, sender: &ConnectionSender) {
    let handshakes = Permits::new(OPEN_HANDSHAKES);
    let (failed, failures) = mpsc::channel(QUEUE_LENGTH);
    tokio::spawn(log_failures(failures));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_RETRY_DELAY).await;
                continue;
            }
        };
        // This fails only if the connection is already closed.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &tls else {
            if sender.send(Ok(Connection::plain(stream))).await.is_err() {
                return;
            }
            continue;
        };
        // Waiting here would let silent clients keep all others out.
        let mut permit = handshakes.issue(from.ip());
        let (tls, sender, failed) = (tls.clone(), sender.clone(), failed.clone());
        tokio::spawn(async move {
            let performed = tokio::select! {
                performed = handshake(&tls, stream) => performed,
                () = permit.revoked() => {
                    Err(io::Error::other("too many unfinished handshakes; closed the oldest"))
                }
            };
            drop(permit);
            match performed {
                Ok(connection) => drop(sender.send(Ok(connection)).await),
                // If the queue is full, there are more failures than can be logged.
                Err(error) => drop(failed.try_send((from, error))),
            }
        });
    }
}

async fn handshake(tls: &AcceptTls, stream: TcpStream) -> io::Result<Connection> {
    let acceptor = TlsAcceptor::from(tls.config());
    let stream = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await??;
    Ok(Connection::tls(TlsStream::Server(stream)))
}

/// Logs the first failure, and then at most one per interval with the number of those left out.
async fn log_failures(mut failures: mpsc::Receiver<(SocketAddr, io::Error)>) {
    let (mut next, mut suppressed) = (Instant::now(), 0_u64);
    while let Some((from, error)) = failures.recv().await {
        if Instant::now() < next {
            suppressed += 1;
            continue;
        }
        tracing::warn!(%from, %error, suppressed, "TLS handshake failed");
        (next, suppressed) = (Instant::now() + LOG_INTERVAL, 0);
    }
}
