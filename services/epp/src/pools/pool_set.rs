//! The pools that a replica serves, with their ports, and those on their way out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ractor::SpawnErr;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::pool_port::PoolPort;
use super::served_pool::ServedPool;
use crate::gateway::health::DrainPhase;
use crate::replica::Replica;

/// How long ports take to go out of service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainTimes {
    /// How long a port that reports not serving still accepts requests.
    pub(crate) delay: Duration,
    /// How long its open requests may then take to end.
    pub(crate) timeout: Duration,
}

/// The addresses on which pools are served, by pool.
pub(crate) type PoolAddresses = BTreeMap<String, SocketAddr>;

/// The pools that a replica serves.
#[derive(Debug)]
pub(crate) struct PoolSet {
    replica: Arc<Replica>,
    ip: IpAddr,
    drain: DrainTimes,
    pools: BTreeMap<String, Running>,
    addresses: watch::Sender<PoolAddresses>,
    /// Ports and pools that finish their requests.
    leaving: JoinSet<()>,
}

#[derive(Debug)]
struct Running {
    pool: ServedPool,
    port: Option<PoolPort>,
    /// The port before the pool moved, until it is retired.
    previous: Option<PoolPort>,
}

impl PoolSet {
    /// Returns a set without pools, whose ports will be on `ip`.
    pub(crate) fn new(replica: Arc<Replica>, ip: IpAddr, drain: DrainTimes) -> Self {
        let (pools, leaving) = (BTreeMap::new(), JoinSet::new());
        Self { replica, ip, drain, pools, addresses: watch::Sender::default(), leaving }
    }

    /// Returns the addresses on which pools are served.
    pub(crate) fn addresses(&self) -> watch::Receiver<PoolAddresses> {
        self.addresses.subscribe()
    }

    /// Starts to follow a pool; without a name, the only one that the aggregators have. Returns whether it has a
    /// view.
    ///
    /// # Errors
    /// The actors of the pool cannot start.
    pub(crate) async fn start(&mut self, name: Option<&str>) -> Result<watch::Receiver<bool>, SpawnErr> {
        let pool = ServedPool::start(&self.replica, name).await?;
        let ready = pool.ready.clone();
        let running = Running { pool, port: None, previous: None };
        self.pools.insert(name.unwrap_or_default().to_owned(), running);
        Ok(ready)
    }

    /// Returns the names of the pools and whether there is a view of each.
    pub(super) fn views(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pools.iter().map(|(name, running)| (name.as_str(), *running.pool.ready.borrow()))
    }

    /// Opens a port for a pool. If it had another one, that is then to be retired.
    ///
    /// # Errors
    /// The port cannot be bound, or the pool is unknown.
    pub(super) async fn open(&mut self, name: &str, port: u16) -> io::Result<()> {
        let listener = TcpListener::bind((self.ip, port)).await;
        let running = self.pools.get(name).ok_or_else(|| io::Error::other("the pool did not start"))?;
        if listener.is_err() {
            running.pool.picker.metrics.port_failures.inc();
        }
        self.serve(name, listener?)
    }

    /// Serves a pool on `listener`.
    ///
    /// # Errors
    /// The listener has no local address.
    pub(crate) fn serve(&mut self, name: &str, listener: TcpListener) -> io::Result<()> {
        let Some(Running { pool, port, previous }) = self.pools.get_mut(name) else { return Ok(()) };
        let (picker, ready) = (Arc::clone(&pool.picker), pool.ready.clone());
        let opened = PoolPort::open(listener, &self.replica.gateways, picker, ready)?;
        let address = opened.address();
        *previous = port.replace(opened);
        self.set_address(name, Some(address));
        Ok(())
    }

    /// Retires the port that a pool had before it moved: gateways have time to notice.
    pub(super) fn retire_previous(&mut self, name: &str) {
        let previous = self.pools.get_mut(name).and_then(|running| running.previous.take());
        let DrainTimes { delay, timeout } = self.drain;
        self.leave(previous.map(|port| async move {
            port.advance(DrainPhase::Announced);
            tokio::time::sleep(delay).await;
            port.close(timeout).await;
        }));
    }

    /// Closes a pool's port at once.
    pub(super) fn close(&mut self, name: &str) {
        let timeout = self.drain.timeout;
        let port = self.pools.get_mut(name).and_then(|running| running.port.take());
        self.set_address(name, None);
        self.leave(port.map(|port| async move {
            port.close(timeout).await;
        }));
    }

    /// Closes a pool's port at once, and stops to follow the pool when its requests have ended or the drain
    /// timeout has passed.
    pub(super) fn stop(&mut self, name: &str) {
        let timeout = self.drain.timeout;
        let running = self.pools.remove(name);
        self.set_address(name, None);
        self.leave(running.map(|Running { pool, port, previous }| async move {
            join_all(port.into_iter().chain(previous).map(|port| port.close(timeout))).await;
            pool.stop().await;
        }));
    }

    fn set_address(&self, name: &str, address: Option<SocketAddr>) {
        self.addresses.send_modify(|addresses| {
            match address {
                Some(address) => addresses.insert(name.to_owned(), address),
                None => addresses.remove(name),
            };
        });
    }

    fn leave(&mut self, task: Option<impl Future<Output = ()> + Send + 'static>) {
        // Tasks that have ended are forgotten.
        while self.leaving.try_join_next().is_some() {}
        if let Some(task) = task {
            self.leaving.spawn(task);
        }
    }

    /// Takes all pools out of service, and returns when their requests have ended or the drain timeout has passed.
    pub(crate) async fn drain(mut self) {
        let DrainTimes { delay, timeout } = self.drain;
        let (mut pools, mut ports) = (Vec::new(), Vec::new());
        for Running { pool, port, previous } in std::mem::take(&mut self.pools).into_values() {
            pools.push(pool);
            ports.extend(port.into_iter().chain(previous));
        }
        ports.iter().for_each(|port| port.advance(DrainPhase::Announced));
        tokio::time::sleep(delay).await;
        let have_ended = join_all(ports.into_iter().map(|port| port.close(timeout))).await;
        if have_ended.contains(&false) {
            tracing::warn!(?timeout, "aborting requests that did not end within the drain timeout");
        }
        while self.leaving.join_next().await.is_some() {}
        join_all(pools.into_iter().map(ServedPool::stop)).await;
    }
}
