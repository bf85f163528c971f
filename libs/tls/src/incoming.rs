//! Connections from others.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use crate::Security;
use crate::connection::Connection;
use crate::identity::Identity;
use crate::serving::{Serving, Shown};

/// Connections that may wait to be served.
const WAITING: usize = 16;

/// Handshakes at one time: whoever does not go on with his holds up nobody else.
const HANDSHAKES: usize = 256;

/// How long a handshake may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Between two looks whether the system has room for another connection.
const LATER: Duration = Duration::from_millis(50);

/// Failed handshakes are logged at most so often.
const LOG_EVERY: Duration = Duration::from_secs(1);

type Served = mpsc::Sender<io::Result<Connection>>;

/// By which TLS is spoken with whoever comes.
#[derive(Clone, Debug)]
enum Terms {
    /// Both sides show who they are.
    Mutual(Arc<Identity>),
    /// Only this side does.
    Shown(Arc<Shown>),
}

impl Terms {
    fn config(&self) -> Arc<ServerConfig> {
        match self {
            Self::Mutual(identity) => identity.configs().server,
            Self::Shown(shown) => shown.config(),
        }
    }
}

impl Security {
    /// The connections that come to `listener`, each ready to be served. A handshake that fails is logged with its reason and ends nothing
    /// else. The port is left when the stream is dropped.
    pub fn incoming(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let terms = match self {
            Self::Local | Self::Plaintext => None,
            Self::Mutual(identity) => Some(Terms::Mutual(identity)),
        };
        incoming(listener, terms)
    }
}

impl Serving {
    /// As [`Security::incoming`].
    pub fn incoming(self, listener: TcpListener) -> ReceiverStream<io::Result<Connection>> {
        let terms = match self {
            Self::Plaintext => None,
            Self::Tls(shown) => Some(Terms::Shown(shown)),
        };
        incoming(listener, terms)
    }
}

fn incoming(listener: TcpListener, terms: Option<Terms>) -> ReceiverStream<io::Result<Connection>> {
    let (served, connections) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        tokio::select! {
            () = accept(listener, terms, &served) => {}
            () = served.closed() => {}
        }
    });
    ReceiverStream::new(connections)
}

async fn accept(listener: TcpListener, terms: Option<Terms>, served: &Served) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    let (failed, failures) = mpsc::channel(WAITING);
    tokio::spawn(log(failures));
    loop {
        let (stream, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(LATER).await;
                continue;
            }
        };
        // It is gone if that cannot be set.
        let _ = stream.set_nodelay(true);
        let Some(terms) = &terms else {
            if served.send(Ok(Connection::Plain(stream))).await.is_err() {
                return;
            }
            continue;
        };
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else { return };
        let (terms, served, failed) = (terms.clone(), served.clone(), failed.clone());
        tokio::spawn(async move {
            match shake_hands(&terms, stream).await {
                Ok(connection) => drop(served.send(Ok(connection)).await),
                // There are more than can be logged.
                Err(error) => drop(failed.try_send((from, error))),
            }
            drop(permit);
        });
    }
}

async fn shake_hands(terms: &Terms, stream: TcpStream) -> io::Result<Connection> {
    let acceptor = TlsAcceptor::from(terms.config());
    let stream = timeout(DEADLINE, acceptor.accept(stream)).await??;
    Ok(Connection::Tls(Box::new(TlsStream::Server(stream))))
}

/// Logs the first failure, and then one in a while.
async fn log(mut failures: mpsc::Receiver<(SocketAddr, io::Error)>) {
    let (mut next, mut untold) = (Instant::now(), 0_u64);
    while let Some((from, error)) = failures.recv().await {
        if Instant::now() < next {
            untold += 1;
            continue;
        }
        tracing::warn!(%from, %error, untold, "a connection is refused");
        (next, untold) = (Instant::now() + LOG_EVERY, 0);
    }
}
