//! The embedded gateway of `signalbox up`: a small streaming HTTP/1.1 reverse proxy that asks an endpoint
//! picker over ext-proc where each request goes.
//!
//! **For local use, not for production.** It exists so that `signalbox up` needs no other software. It has no
//! TLS, no HTTP/2, no routes, no access log, and no retries after the first byte of a body was sent.
//! Otherwise it behaves like Envoy in `FULL_DUPLEX_STREAMED` mode for both bodies: every byte in either
//! direction passes through the picker chunk by chunk, and the other side gets what the picker echoes.
//!
//! One HTTP request is one future that owns all its parts: the client's body, the ext-proc stream and the
//! upstream request. Dropping the future, which happens when the client disconnects, therefore cancels
//! everything. A request passes through the modules in this order: [`exchange`] → [`phases::routing`]
//! ([`ext_proc`]) → [`phases::request_body`] ([`upstream`]) → [`phases::response`].

mod body;
mod error;
mod exchange;
mod ext_proc;
mod headers;
mod phases;
#[cfg(test)]
mod tests;
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
pub(crate) use ext_proc::pickers::PickerTransport;

/// Pause of the accept loop after an error, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The embedded gateway. The module documentation lists its limits.
pub(crate) struct Gateway;

impl Gateway {
    /// Serves `listener` until the returned handle shuts it down. Distributes requests over the endpoint
    /// pickers at `epps` and connects to each of them on first use.
    ///
    /// # Errors
    /// When the address of the listener is unknown or TLS cannot be set up.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub(crate) fn start(
        listener: TcpListener,
        epps: &[SocketAddr],
        transport: PickerTransport,
    ) -> io::Result<GatewayHandle> {
        let address = listener.local_addr()?;
        let stopping = CancellationToken::new();
        let abort = CancellationToken::new();
        let connections = TaskTracker::new();
        let exchange = Arc::new(Exchange::new(epps, transport).map_err(io::Error::other)?);
        let acceptor = Acceptor {
            exchange,
            stopping: stopping.clone(),
            abort: abort.clone(),
            connections: connections.clone(),
        };
        connections.spawn(acceptor.accept(listener));
        Ok(GatewayHandle { address, stopping, abort, connections })
    }
}

/// A running gateway. Dropping the handle leaves it running.
pub(crate) struct GatewayHandle {
    /// Listen address.
    pub(crate) address: SocketAddr,
    stopping: CancellationToken,
    abort: CancellationToken,
    connections: TaskTracker,
}

/// How a shutdown ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Every request in flight finished.
    Complete,
    /// Requests that were still in flight at the timeout were aborted.
    Aborted,
}

impl GatewayHandle {
    /// Stops accepting connections, waits at most `timeout` for requests in flight, then aborts the rest.
    pub(crate) async fn shutdown(self, timeout: Duration) -> Drained {
        self.stopping.cancel();
        self.connections.close();
        if tokio::time::timeout(timeout, self.connections.wait()).await.is_ok() {
            return Drained::Complete;
        }
        self.abort.cancel();
        self.connections.wait().await;
        Drained::Aborted
    }
}

/// Accepts connections and serves them. Each connection has a clone.
#[derive(Clone)]
struct Acceptor {
    exchange: Arc<Exchange>,
    stopping: CancellationToken,
    abort: CancellationToken,
    connections: TaskTracker,
}

impl Acceptor {
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
                    tracing::warn!(%error, "cannot accept a client connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn serve(self, stream: TcpStream) {
        // Otherwise small SSE chunks wait for the acknowledgement of earlier ones.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY on a client connection");
        }
        let exchange = self.exchange;
        let service = service_fn(move |request| {
            let exchange = Arc::clone(&exchange);
            async move { Ok::<_, Infallible>(exchange.handle(request).await) }
        });
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut draining = false;
        loop {
            tokio::select! {
                () = self.abort.cancelled() => return,
                () = self.stopping.cancelled(), if !draining => {
                    draining = true;
                    connection.as_mut().graceful_shutdown();
                }
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%error, "client connection ended early");
                    }
                    return;
                }
            }
        }
    }
}
