//! A TCP proxy that counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What has passed: bytes of TCP payload, HTTP/2 framing included, and connections.
#[derive(Debug, Default)]
struct Counts {
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
}

/// Bytes that have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// From whoever connected.
    pub(crate) up_bytes: u64,
    /// To it.
    pub(crate) down_bytes: u64,
}

impl Passed {
    /// What passed since `before`.
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
    /// Starts one in front of what listens, or will, at `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, counts) = (listener.local_addr()?, Arc::new(Counts::default()));
        let counted = Arc::clone(&counts);
        let accepting = tokio::spawn(async move {
            loop {
                // Failing to accept is a matter of this process's own limits, and shows in what is measured.
                if let Ok((near, _)) = listener.accept().await {
                    tokio::spawn(carry(near, target, Arc::clone(&counted)));
                }
            }
        });
        Ok(Self { address, counts, accepting })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed until now.
    pub(crate) fn passed(&self) -> Passed {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Passed { up_bytes: read(&self.counts.up_bytes), down_bytes: read(&self.counts.down_bytes) }
    }

    /// Connections that were opened until now, and closed.
    pub(crate) fn connections(&self) -> (u64, u64) {
        (self.counts.opened.load(Ordering::Relaxed), self.counts.closed.load(Ordering::Relaxed))
    }
}

impl Drop for CountingProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(near: TcpStream, target: SocketAddr, counts: Arc<Counts>) {
    let Ok(far) = TcpStream::connect(target).await else { return };
    counts.opened.fetch_add(1, Ordering::Relaxed);
    // A socket that refuses the option is slower, not wrong.
    drop(near.set_nodelay(true));
    drop(far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    tokio::select! {
        () = pump(near_read, far_write, &counts.up_bytes) => {}
        () = pump(far_read, near_write, &counts.down_bytes) => {}
    }
    counts.closed.fetch_add(1, Ordering::Relaxed);
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, bytes: &AtomicU64) {
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

    use super::{CountingProxy, Passed};

    #[tokio::test]
    async fn both_directions_are_counted_apart() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = CountingProxy::start(server.local_addr().unwrap()).await.unwrap();
        let mut near = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        let mut got = [0; 3];
        near.write_all(b"abc").await.unwrap();
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"d").await.unwrap();
        near.read_exact(&mut got[..1]).await.unwrap();
        drop(far);
        assert_eq!(near.read(&mut got).await.unwrap(), 0);
        let Passed { up_bytes, down_bytes } = proxy.passed().since(Passed::default());
        assert_eq!((up_bytes, down_bytes, &got), (3, 1, b"dbc"));
        assert_eq!(proxy.connections().0, 1);
    }
}
