//! A TCP proxy that can be cut: what is sent meanwhile arrives later, as with packets that a network drops and their sender repeats.

use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV4};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::caller::caller;
use crate::cast::Who;

/// Pairs between which nothing passes, in either direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cuts(BTreeSet<(Who, Who)>);

impl Cuts {
    /// Nothing passes between these two any more.
    pub(crate) fn part(&mut self, one: Who, other: Who) {
        self.0.insert((one.min(other), one.max(other)));
    }

    /// Whether what `caller` and `called` send each other passes. A caller that nobody knows is not let through to anyone who is cut off
    /// from someone.
    fn pass(&self, caller: Option<Who>, called: Who) -> bool {
        match caller {
            Some(caller) => !self.0.contains(&(caller.min(called), caller.max(called))),
            None => !self.0.iter().any(|(one, other)| *one == called || *other == called),
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
    /// Starts one in front of `called`, who listens, or will, at `target`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub(crate) async fn start(
        called: Who,
        target: SocketAddr,
        cuts: watch::Receiver<Cuts>,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(async move {
            loop {
                // Failing to accept is a matter of the suite's own limits, and shows in the row that is played.
                if let Ok((stream, peer)) = listener.accept().await {
                    tokio::spawn(carry(stream, (peer, address), called, target, cuts.clone()));
                }
            }
        });
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    near: TcpStream,
    (peer, here): (SocketAddr, SocketAddr),
    called: Who,
    target: SocketAddr,
    cuts: watch::Receiver<Cuts>,
) {
    let known = tokio::task::spawn_blocking(move || caller(v4(peer)?, v4(here)?)).await;
    let gate = Gate { caller: known.ok().flatten(), called, cuts };
    gate.clone().open().await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    // A socket that refuses the option is slower, not wrong.
    drop(near.set_nodelay(true));
    drop(far.set_nodelay(true));
    let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
    let there = pump(near_read, far_write, gate.clone());
    let back = pump(far_read, near_write, gate);
    // When one side is done the other is too: both ends speak HTTP/2, which nobody half closes. So a reset is passed on as an end.
    tokio::select! {
        () = there => {}
        () = back => {}
    }
}

fn v4(address: SocketAddr) -> Option<SocketAddrV4> {
    match address {
        SocketAddr::V4(address) => Some(address),
        SocketAddr::V6(_) => None,
    }
}

/// Whether one connection passes.
#[derive(Clone)]
struct Gate {
    caller: Option<Who>,
    called: Who,
    cuts: watch::Receiver<Cuts>,
}

impl Gate {
    /// Waits until it does.
    async fn open(&mut self) {
        let (caller, called) = (self.caller, self.called);
        // An error means that the suite is ending, and the proxy with it.
        let _ = self.cuts.wait_for(|cuts| cuts.pass(caller, called)).await;
    }
}

/// Passes on what is read until that ends; the end is not seen before the gate opens either.
async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut gate: Gate) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        gate.open().await;
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::{Cuts, Proxy};
    use crate::cast::Who;

    const ETCD: Who = Who::Etcd;
    const REPLICA: Who = Who::Replica(0);

    #[test]
    fn cuts_work_in_both_directions_and_for_nobody_else() {
        let mut cuts = Cuts::default();
        cuts.part(REPLICA, ETCD);
        assert!(!cuts.pass(Some(REPLICA), ETCD) && !cuts.pass(Some(ETCD), REPLICA));
        assert!(cuts.pass(Some(Who::Replica(1)), ETCD) && !cuts.pass(None, ETCD));
        assert!(cuts.pass(None, Who::Aggregator(0)));
    }

    #[tokio::test]
    async fn what_is_sent_while_cut_arrives_when_healed() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cuts, is_cut) = watch::channel(Cuts::default());
        let proxy = Proxy::start(ETCD, server.local_addr().unwrap(), is_cut).await.unwrap();
        let mut near = TcpStream::connect(proxy.address()).await.unwrap();
        let (mut far, _) = server.accept().await.unwrap();
        let mut byte = [0];
        near.write_all(b"1").await.unwrap();
        far.read_exact(&mut byte).await.unwrap();
        assert_eq!(&byte, b"1");
        // The test itself is a caller that nobody knows.
        cuts.send_modify(|cuts| cuts.part(REPLICA, ETCD));
        near.write_all(b"2").await.unwrap();
        let mut late = std::pin::pin!(far.read_exact(&mut byte));
        tokio::select! {
            biased;
            _ = &mut late => panic!("it passed"),
            () = async { for _ in 0..100 { tokio::task::yield_now().await } } => {}
        }
        cuts.send_replace(Cuts::default());
        late.await.unwrap();
        assert_eq!(&byte, b"2");
        drop(near);
        assert_eq!(far.read(&mut byte).await.unwrap(), 0);
    }
}
