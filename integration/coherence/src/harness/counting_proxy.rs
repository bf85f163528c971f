//! A TCP proxy that counts bytes and connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Counters: bytes of TCP payload, including HTTP/2 framing, and connections.
#[derive(Debug, Default)]
struct Counts {
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
}

/// Transferred bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransferredBytes {
    /// Bytes from the client.
    pub(crate) up_bytes: u64,
    /// Bytes to the client.
    pub(crate) down_bytes: u64,
}

impl TransferredBytes {
    /// Returns the bytes transferred since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self { up_bytes: self.up_bytes - before.up_bytes, down_bytes: self.down_bytes - before.down_bytes }
    }
}

/// A proxy in front of one listener.
#[derive(Debug)]
pub(crate) struct CountingProxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl CountingProxy {
    /// Starts a proxy in front of a listener at `target`, which may start later.
    ///
    /// # Errors
    /// Fails when the proxy cannot listen.
    pub(crate) async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, counts) = (listener.local_addr()?, Arc::new(Counts::default()));
        let counted = Arc::clone(&counts);
        let accepting = tokio::spawn(async move {
            loop {
                // Failures to accept are caused by limits of this process and show in the measurement.
                if let Ok((downstream, _)) = listener.accept().await {
                    tokio::spawn(relay(downstream, target, Arc::clone(&counted)));
                }
            }
        });
        Ok(Self { address, counts, accepting })
    }

    /// Returns the address on which the proxy listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the bytes transferred so far.
    pub(crate) fn transferred(&self) -> TransferredBytes {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        TransferredBytes { up_bytes: read(&self.counts.up_bytes), down_bytes: read(&self.counts.down_bytes) }
    }

    /// Returns the number of connections opened and closed so far.
    pub(crate) fn connections(&self) -> (u64, u64) {
        (self.counts.opened.load(Ordering::Relaxed), self.counts.closed.load(Ordering::Relaxed))
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(downstream: TcpStream, target: SocketAddr, counts: Arc<Counts>) {
    let Ok(upstream) = TcpStream::connect(target).await else { return };
    counts.opened.fetch_add(1, Ordering::Relaxed);
    // A socket that rejects the option is slower but works.
    drop(downstream.set_nodelay(true));
    drop(upstream.set_nodelay(true));
    let ((downstream_read, downstream_write), (upstream_read, upstream_write)) =
        (downstream.into_split(), upstream.into_split());
    tokio::select! {
        () = copy_counted(downstream_read, upstream_write, &counts.up_bytes) => {}
        () = copy_counted(upstream_read, downstream_write, &counts.down_bytes) => {}
    }
    counts.closed.fetch_add(1, Ordering::Relaxed);
}

async fn copy_counted(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, bytes: &AtomicU64) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        bytes.fetch_add(read as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{CountingProxy, TransferredBytes};

    #[tokio::test]
    async fn directions_are_counted_separately() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = CountingProxy::start(server.local_addr().unwrap()).await.unwrap();
        let mut downstream = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut upstream, _) = server.accept().await.unwrap();
        let mut got = [0; 3];
        downstream.write_all(b"abc").await.unwrap();
        upstream.read_exact(&mut got).await.unwrap();
        upstream.write_all(b"d").await.unwrap();
        downstream.read_exact(&mut got[..1]).await.unwrap();
        drop(upstream);
        assert_eq!(downstream.read(&mut got).await.unwrap(), 0);
        let TransferredBytes { up_bytes, down_bytes } =
            proxy.transferred().since(TransferredBytes::default());
        assert_eq!((up_bytes, down_bytes, &got), (3, 1, b"dbc"));
        assert_eq!(proxy.connections().0, 1);
    }
}
