//! The pools that a replica serves, with their ports, and those on their way out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ractor::SpawnErr;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::leaving_ports::{DrainTimes, LeavingPorts};
use super::pool_port::PoolPort;
use super::served_pool::ServedPool;
use crate::replica::Replica;

/// The addresses on which pools are served, by pool.
pub(crate) type PoolAddresses = BTreeMap<String, SocketAddr>;

/// The pools that a replica serves.
#[derive(Debug)]
pub(crate) struct PoolSet {
    replica: Arc<Replica>,
    ip: IpAddr,
    pools: BTreeMap<String, Running>,
    addresses: watch::Sender<PoolAddresses>,
    leaving: LeavingPorts,
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
        let (pools, leaving) = (BTreeMap::new(), LeavingPorts::new(drain));
        Self { replica, ip, pools, addresses: watch::Sender::default(), leaving }
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

    /// Returns whether the replica follows a pool.
    pub(super) fn has(&self, name: &str) -> bool {
        self.pools.contains_key(name)
    }

    /// Returns the names of the pools and whether there is a view of each.
    pub(super) fn views(&self) -> impl Iterator<Item = (&str, bool)> {
        self.pools.iter().map(|(name, running)| (name.as_str(), *running.pool.ready.borrow()))
    }

    /// Opens a port for a pool. If it had another one, that is then to be retired.
    ///
    /// # Errors
    /// The port cannot be bound yet, or the pool is unknown.
    pub(super) async fn open(&mut self, name: &str, port: u16) -> Result<(), OpenError> {
        let was_leaving = self.leaving.hand_over(port);
        let listener = match TcpListener::bind((self.ip, port)).await {
            Err(error) if was_leaving && error.kind() == io::ErrorKind::AddrInUse => {
                return Err(OpenError::Leaving);
            }
            listener => listener,
        };
        let running = self.pools.get(name).ok_or_else(|| io::Error::other("the pool did not start"))?;
        if listener.is_err() {
            running.pool.picker.metrics.port_failures.inc();
        }
        Ok(self.serve(name, listener?)?)
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

    /// Takes the port that a pool had before it moved out of service: gateways have time to notice.
    pub(super) fn retire_previous(&mut self, name: &str) {
        let previous = self.pools.get_mut(name).and_then(|running| running.previous.take());
        self.leaving.add(previous, || {}, async {});
    }

    /// Closes a pool's port at once, because another pool gets it, or the pool may not have it.
    pub(super) fn close(&mut self, name: &str) {
        let port = self.pools.get_mut(name).and_then(|running| running.port.take());
        self.set_address(name, None);
        let Some(port) = port else { return };
        let number = port.address().port();
        self.leaving.add([port], || {}, async {});
        self.leaving.hand_over(number);
    }

    /// Takes a pool's port out of service, and stops to follow the pool when its requests have ended or the drain
    /// timeout has passed. Gateways may still send requests until they have noticed that the pool is gone.
    pub(super) fn stop(&mut self, name: &str) {
        let Some(Running { pool, port, previous }) = self.pools.remove(name) else { return };
        self.set_address(name, None);
        let gate = Arc::clone(&pool.picker.gate);
        self.leaving.add(port.into_iter().chain(previous), move || gate.close(), pool.stop());
    }

    fn set_address(&self, name: &str, address: Option<SocketAddr>) {
        self.addresses.send_modify(|addresses| {
            match address {
                Some(address) => addresses.insert(name.to_owned(), address),
                None => addresses.remove(name),
            };
        });
    }

    /// Takes all pools out of service, and returns when their requests have ended or the drain timeout has passed.
    pub(crate) async fn drain(mut self) {
        let names: Vec<String> = self.pools.keys().cloned().collect();
        names.iter().for_each(|name| self.stop(name));
        self.leaving.finish().await;
    }
}

/// Why a port was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    /// It is on its way out of service, and now closes at once, because a pool wants it.
    #[error("the port is still closing")]
    Leaving,
    /// It cannot be bound.
    #[error(transparent)]
    Bind(#[from] io::Error),
}
