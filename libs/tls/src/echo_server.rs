//! A server that tests connect to.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::Connection;

/// Starts a server that echoes what it receives. `incoming` accepts its connections.
pub(crate) async fn start_echo_server(
    incoming: impl FnOnce(TcpListener) -> ReceiverStream<io::Result<Connection>>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut incoming = incoming(listener);
    tokio::spawn(async move {
        while let Some(Ok(connection)) = incoming.next().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tokio::io::split(connection);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}
