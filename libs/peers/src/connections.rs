//! Connections to aggregators, which all streams of a process share.

mod slot;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use signalbox_tls::{ConnectError, Security, root_cause};
use signalbox_types::PeerAddress;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use self::slot::Slot;

/// Time limit for an aggregator to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval of keep-alive pings, and the time limit for an answer. Together they are shorter than a failover
/// may take.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Bytes that may be in transit to this process on one connection. It is larger than all streams' windows
/// together, so that a stream that is not read does not hold up the others.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// Connections to aggregators. Streams to the same aggregator share one, whichever pool they are about. Clones
/// share the connections.
#[derive(Clone, Debug)]
pub struct Connections(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    security: Security,
    slots: Mutex<BTreeMap<PeerAddress, Arc<Slot>>>,
}

/// A connection to an aggregator. It is closed when the last stream drops it.
#[derive(Debug)]
pub struct Connection {
    channel: Channel,
    is_broken: AtomicBool,
}

impl Connections {
    /// Returns no connections yet.
    pub fn new(security: Security) -> Self {
        Self(Arc::new(Shared { security, slots: Mutex::default() }))
    }

    /// Returns the connection to an aggregator. It is opened if there is none that works. Streams that wait for
    /// the same attempt have the same result.
    ///
    /// # Errors
    /// When the aggregator does not accept the connection within two seconds, or the security forbids it.
    pub async fn open(&self, aggregator: &PeerAddress) -> Result<Arc<Connection>, ConnectError> {
        self.slot(aggregator).open(|| self.connect(aggregator)).await
    }

    fn slot(&self, aggregator: &PeerAddress) -> Arc<Slot> {
        let mut slots = self.0.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // A slot that nobody but the map holds, and without a connection, is of an aggregator that is gone.
        slots.retain(|address, slot| {
            address == aggregator || Arc::strong_count(slot) > 1 || slot.is_connected()
        });
        Arc::clone(slots.entry(aggregator.clone()).or_default())
    }

    async fn connect(&self, aggregator: &PeerAddress) -> Result<Connection, ConnectError> {
        let settings = |endpoint: Endpoint| {
            endpoint
                .connect_timeout(CONNECT_TIMEOUT)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .http2_keep_alive_interval(KEEP_ALIVE)
                .keep_alive_timeout(KEEP_ALIVE)
                .keep_alive_while_idle(true)
        };
        let channel = self.0.security.connect(aggregator, settings).await?;
        Ok(Connection { channel, is_broken: AtomicBool::new(false) })
    }
}

impl Connection {
    /// Returns the channel, for streams.
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Records that the connection does not work any more: the next stream opens another one.
    pub fn mark_broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// Records how a stream failed. A status that the aggregator did not send shows that the connection does not
    /// work any more.
    pub fn observe(&self, status: &Status) {
        if status.source().is_some() {
            self.mark_broken();
        }
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Relaxed)
    }
}

/// Returns the message of a status; for a connection that broke, the reason.
pub fn status_reason(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), |cause| root_cause(cause).to_string())
}

#[cfg(test)]
mod tests;
