//! A TCP proxy whose connections can be cut. Data sent during a cut arrives after it, as if the network had
//! dropped packets and TCP had retransmitted them.

use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::connection_owner::connection_owner;
use super::traffic::Traffic;
use crate::process_id::ProcessId;

/// The pairs of processes whose connections are cut, in both directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts(BTreeSet<(ProcessId, ProcessId)>);

impl Cuts {
    /// Cuts the connections between two processes.
    pub(crate) fn cut(&mut self, one: ProcessId, other: ProcessId) {
        self.0.insert((one.min(other), one.max(other)));
    }

    /// Returns whether data between `client` and `server` passes. An unknown client reaches only servers
    /// without any cut.
    fn allow(&self, client: Option<ProcessId>, server: ProcessId) -> bool {
        match client {
            Some(client) => !self.0.contains(&(client.min(server), client.max(server))),
            None => !self.0.iter().any(|(one, other)| *one == server || *other == server),
        }
    }
}

/// A proxy in front of one process.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Starts a proxy in front of `server`, which listens at `target` now or later.
    ///
    /// # Errors
    /// Fails when the proxy cannot listen.
    pub(crate) async fn start(
        server: ProcessId,
        target: SocketAddr,
        cuts: watch::Receiver<Cuts>,
        traffic: Arc<Traffic>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            loop {
                // A failed accept means that the test itself ran out of resources; the row then fails.
                if let Ok((stream, peer)) = listener.accept().await {
                    let gate =
                        Gate { client: None, server, cuts: cuts.clone(), traffic: Arc::clone(&traffic) };
                    tokio::spawn(forward(stream, (peer, address), target, gate));
                }
            }
        });
        Ok(Self { address, accepting })
    }

    /// Returns the address of the proxy.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Forwards one connection in both directions.
async fn forward(
    near: TcpStream,
    (peer, local): (SocketAddr, SocketAddr),
    target: SocketAddr,
    mut gate: Gate,
) {
    let client = tokio::task::spawn_blocking(move || connection_owner(v4(peer)?, v4(local)?)).await;
    gate.client = client.ok().flatten();
    gate.wait_open().await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    if let Some(client) = gate.client {
        gate.traffic.count_opened(client, gate.server);
    }
    // Without the option the connection is only slower.
    drop(near.set_nodelay(true));
    drop(far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let to_server = copy(near_read, far_write, gate.clone());
    let to_client = copy(far_read, near_write, gate);
    // When one direction ends, both end: HTTP/2 never half-closes a connection. A reset is forwarded as a
    // close.
    tokio::select! {
        () = to_server => {}
        () = to_client => {}
    }
}

fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}

/// Blocks one connection while it is cut.
#[derive(Clone)]
struct Gate {
    client: Option<ProcessId>,
    server: ProcessId,
    cuts: watch::Receiver<Cuts>,
    traffic: Arc<Traffic>,
}

impl Gate {
    /// Waits until the connection is not cut.
    async fn wait_open(&mut self) {
        let (client, server) = (self.client, self.server);
        if let Some(client) = client.filter(|client| !self.cuts.borrow().allow(Some(*client), server)) {
            self.traffic.count_held_back(client, server);
        }
        // An error means that the test is over.
        let _ = self.cuts.wait_for(|cuts| cuts.allow(client, server)).await;
    }
}

/// Copies data until the end, and forwards neither data nor the end while the gate is closed.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut gate: Gate) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        gate.wait_open().await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::{Cuts, Gate, Proxy, Traffic};
    use crate::process_id::ProcessId;

    const ETCD: ProcessId = ProcessId::Etcd;
    const REPLICA: ProcessId = ProcessId::Replica(0);

    #[test]
    fn cut_blocks_both_directions_of_one_pair_only() {
        let mut cuts = Cuts::default();
        cuts.cut(REPLICA, ETCD);
        assert!(!cuts.allow(Some(REPLICA), ETCD) && !cuts.allow(Some(ETCD), REPLICA));
        assert!(cuts.allow(Some(ProcessId::Replica(1)), ETCD) && !cuts.allow(None, ETCD));
        assert!(cuts.allow(None, ProcessId::Aggregator(0)));
    }

    #[tokio::test]
    async fn data_sent_during_a_cut_arrives_after_it() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cuts, is_cut) = watch::channel(Cuts::default());
        let target = server.local_addr().unwrap();
        let proxy = Proxy::start(ETCD, target, is_cut, Arc::default()).await.unwrap();
        let mut near = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        let mut byte = [0];
        near.write_all(b"1").await.unwrap();
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"1");
        // The test itself is an unknown client.
        cuts.send_modify(|cuts| cuts.cut(REPLICA, ETCD));
        near.write_all(b"2").await.unwrap();
        let mut late = std::pin::pin!(far.read_exact(&mut byte));
        tokio::select! {
            biased;
            _ = &mut late => panic!("data passed the cut"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        cuts.send_replace(Cuts::default());
        late.await.unwrap();
        assert_eq!(&byte, b"2");
        drop(near);
        assert_eq!(far.read(&mut byte).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_a_cut_holds_back_is_counted() {
        let traffic = Arc::new(Traffic::default());
        let (cuts, is_cut) = watch::channel(Cuts::default());
        let mut gate =
            Gate { client: Some(REPLICA), server: ETCD, cuts: is_cut, traffic: Arc::clone(&traffic) };
        gate.wait_open().await;
        assert_eq!(traffic.counts().between(ETCD, REPLICA).held_back, 0);
        cuts.send_modify(|cuts| cuts.cut(REPLICA, ETCD));
        let heal = async { drop(cuts.send_replace(Cuts::default())) };
        tokio::join!(biased; gate.wait_open(), heal);
        assert_eq!(traffic.counts().between(ETCD, REPLICA).held_back, 1);
    }
}
