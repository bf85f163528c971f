//! The embedded gateway of `signalbox up`: a small streaming HTTP/1.1 reverse proxy that asks an endpoint
//! picker over ext-proc where each request goes.
//!
//! **For local use, not for production.** It exists so that `signalbox up` needs nothing else: no TLS, no
//! HTTP/2, no routes, no retries after a byte of a body has moved, no access log. What it does do, it does as
//! Envoy does in `FULL_DUPLEX_STREAMED` mode for both bodies: every byte, either way, passes through the
//! picker, chunk by chunk, and what the picker echoes is what the other side gets.
//!
//! One HTTP request is one future that owns all its parts (the client's body, the ext-proc stream, the
//! upstream request), so that dropping it, which is what happens when the client goes away, cancels
//! everything. The way of a request through the files:
//! [`exchange`] → [`picking`] ([`replicas`], [`conversation`]) → [`delivery`] ([`upstream`]) → [`relay`].

mod chunks;
mod conversation;
mod delivery;
#[cfg(test)]
mod end_to_end;
mod exchange;
#[cfg(test)]
mod fake;
mod headers;
mod message;
mod picking;
mod refusal;
mod relay;
mod replicas;
mod rotation;
mod upstream;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use exchange::Exchange;
pub(crate) use replicas::Dialling;

/// How long the accept loop rests when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The embedded gateway; see the module's documentation for what it is and is not.
pub(crate) struct Gateway;

impl Gateway {
    /// Serves `listener` until the returned handle shuts it down, spreading requests over the endpoint
    /// pickers at `epps`, which are spoken with as `dialling` says. Connections to them are made when first needed.
    ///
    /// # Errors
    /// When the listener cannot tell its own address, or there is no TLS.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(crate) fn start(
        listener: TcpListener,
        epps: &[SocketAddr],
        dialling: Dialling,
    ) -> io::Result<Handle> {
        let address = listener.local_addr()?;
        let stopping = CancellationToken::new();
        let cut = CancellationToken::new();
        let connections = TaskTracker::new();
        let exchange = Arc::new(Exchange::new(epps, dialling).map_err(io::Error::other)?);
        let door =
            Door { exchange, stopping: stopping.clone(), cut: cut.clone(), connections: connections.clone() };
        connections.spawn(door.accept(listener));
        Ok(Handle { address, stopping, cut, connections })
    }
}

/// A running gateway. Dropping the handle leaves it running.
pub(crate) struct Handle {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stopping: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Every request in flight was finished.
    Complete,
    /// The deadline came first; what was still in flight was cut off.
    Cut,
}

impl Handle {
    /// Stops accepting, lets the requests in flight finish for at most `patience`, then cuts off the rest.
    pub(crate) async fn shutdown(self, patience: Duration) -> Drained {
        self.stopping.cancel();
        self.connections.close();
        if tokio::time::timeout(patience, self.connections.wait()).await.is_ok() {
            return Drained::Complete;
        }
        self.cut.cancel();
        self.connections.wait().await;
        Drained::Cut
    }
}

/// What the accept loop and each connection share.
#[derive(Clone)]
struct Door {
    exchange: Arc<Exchange>,
    stopping: CancellationToken,
    cut: CancellationToken,
    connections: TaskTracker,
}

impl Door {
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                () = self.stopping.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _peer)) => {
                    self.connections.spawn(self.clone().serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "the gateway cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        // Without it, small SSE chunks wait for acknowledgements of earlier ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY on a client connection");
        }
        let exchange = self.exchange;
        let service = service_fn(move |request| {
            let exchange = Arc::clone(&exchange);
            async move { Ok::<_, Infallible>(exchange.answer(request).await) }
        });
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut drains = false;
        loop {
            tokio::select! {
                () = self.cut.cancelled() => return,
                () = self.stopping.cancelled(), if !drains => {
                    drains = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a client connection ended early");
                    }
                    return;
                }
            }
        }
    }
}
