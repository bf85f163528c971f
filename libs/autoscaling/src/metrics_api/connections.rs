//! Connections, with what their clients presented.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use futures_util::StreamExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use signalbox_metrics_api::Certificate;
use signalbox_tls::{Connection, PermitHandle, PermitLimits, PresentedChain, bounded};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tower_service::Service;

use super::certificates::{Authorities, CheckedCertificate};

/// How many connections there may be of clients whose certificates prove nothing.
const UNPROVEN: PermitLimits = PermitLimits { total: 512, per_address: 64 };

/// How long a client may take to send the headers of a request, and how long a connection may be without one. The HPA asks
/// every 15 s.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Maximum size of the headers of a request, in bytes.
const MAX_HEADER_BYTES: usize = 64 << 10;

/// The client of a connection.
#[derive(Clone, Debug)]
pub(super) struct ClientConnection {
    chain: PresentedChain,
    /// What the certificate proves, as last checked.
    checked: CheckedCertificate,
    permit: Option<PermitHandle>,
}

impl ClientConnection {
    fn new(connection: &Connection) -> Self {
        let (chain, permit) = (connection.chain(), connection.permit());
        Self { chain, checked: CheckedCertificate::default(), permit }
    }

    /// Returns what the client's certificate proves. If it proves something, the connection stays, however many there are.
    pub(super) fn certificate(&self, authorities: &Arc<Authorities>) -> Certificate {
        let certificate = self.checked.check(authorities, &self.chain);
        if let (Certificate::FrontProxy { .. } | Certificate::Client { .. }, Some(permit)) =
            (&certificate, &self.permit)
        {
            permit.give_back();
        }
        certificate
    }
}

/// Serves the connections until `stopped`, and until the requests in flight then are answered.
pub(super) async fn serve(
    incoming: ReceiverStream<io::Result<Connection>>,
    routes: Router,
    stopped: impl Future<Output = ()>,
) {
    let (stopping, mut connections) = (watch::Sender::new(false), JoinSet::new());
    {
        // The port closes with the block.
        let (mut incoming, mut stopped) = (pin!(bounded(incoming, UNPROVEN)), pin!(stopped));
        loop {
            let accepted = tokio::select! {
                accepted = incoming.next() => accepted,
                Some(_) = connections.join_next() => continue,
                () = &mut stopped => break,
            };
            match accepted {
                Some(Ok(connection)) => {
                    let stopping = stopping.subscribe();
                    connections.spawn(serve_one(connection, routes.clone(), HEADER_TIMEOUT, stopping));
                }
                Some(Err(error)) => tracing::warn!(%error, "cannot accept a connection"),
                None => break,
            }
        }
    }
    stopping.send_replace(true);
    while connections.join_next().await.is_some() {}
}

async fn serve_one(
    connection: Connection,
    routes: Router,
    header_timeout: Duration,
    mut stopping: watch::Receiver<bool>,
) {
    let client = ClientConnection::new(&connection);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(client.clone());
        // A router is always ready.
        routes.clone().call(request)
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(header_timeout).max_buf_size(MAX_HEADER_BYTES);
    let mut served = pin!(server.serve_connection(TokioIo::new(connection), service));
    let stop_requested = async move {
        // This fails if the server is gone.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    tokio::select! {
        // It ends early if the client breaks it, or another one takes its place: that concerns nobody else.
        _ = served.as_mut() => return,
        () = stop_requested => served.as_mut().graceful_shutdown(),
    }
    let _ = served.await;
}

#[cfg(test)]
mod tests {
    use signalbox_tls::Security;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(50);

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    /// Sends bytes at once and others slowly, and nothing more. Returns what the server has answered when it breaks the
    /// connection.
    async fn answer_to(at_once: &[u8], slowly: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = Security::Local.incoming(listener);
        let mut client = TcpStream::connect(address).await.unwrap();
        let connection = incoming.next().await.unwrap().unwrap();
        client.write_all(at_once).await.unwrap();
        let (mut read, mut write) = client.split();
        let (_stopping, watched) = watch::channel(false);
        let sending = async {
            for byte in slowly {
                tokio::time::sleep(PATIENCE / 5).await;
                // This fails when the connection is broken.
                let _ = write.write_all(&[*byte]).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            () = serve_one(connection, Router::new(), PATIENCE, watched) => {}
            () = sending => {}
        }
        let mut answer = Vec::new();
        // The connection may be reset, because not all was read that was sent.
        let _ = read.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    #[tokio::test]
    async fn clients_that_are_slow_or_silent_are_disconnected() {
        assert_eq!("", answer_to(b"", b"").await);
        assert_eq!("", answer_to(&REQUEST[..20], b"").await);
        assert_eq!("", answer_to(b"", REQUEST).await);
        let answer = answer_to(REQUEST, b"").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        // A body is not waited for.
        let answer = answer_to(b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n", b"").await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}
