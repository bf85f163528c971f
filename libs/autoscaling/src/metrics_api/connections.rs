//! Connections, with what their clients presented.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use futures_util::StreamExt;
use signalbox_tls::{Connection, PresentedChain};
use tokio_stream::wrappers::ReceiverStream;

use super::certificates::CheckedCertificate;

/// The client of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientConnection {
    pub(super) chain: PresentedChain,
    /// What the certificate proves, as last checked.
    pub(super) checked: CheckedCertificate,
}

/// Accepted connections.
pub(super) struct Connections(pub(super) ReceiverStream<io::Result<Connection>>);

impl Listener for Connections {
    type Io = Connection;
    type Addr = ClientConnection;

    async fn accept(&mut self) -> (Connection, ClientConnection) {
        loop {
            match self.0.next().await {
                Some(Ok(connection)) => {
                    let client =
                        ClientConnection { chain: connection.chain(), ..ClientConnection::default() };
                    return (connection, client);
                }
                Some(Err(error)) => tracing::warn!(%error, "cannot accept a connection"),
                None => std::future::pending().await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<ClientConnection> {
        Ok(ClientConnection::default())
    }
}

impl Connected<IncomingStream<'_, Connections>> for ClientConnection {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Self {
        stream.remote_addr().clone()
    }
}
