//! The port on which gateways ask for one pool.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::deciding::picker::Picker;
use crate::gateway::health::{DrainPhase, HealthService};
use crate::gateway::servers::{ExtProc, GatewayServers};

/// The port on which gateways ask for one pool.
#[derive(Debug)]
pub(super) struct PoolPort {
    address: SocketAddr,
    phase: watch::Sender<DrainPhase>,
    server: JoinHandle<()>,
    picker: Arc<Picker>,
}

impl PoolPort {
    /// Serves the pool of `picker` on `listener`. `ready` tells whether the pool has a view.
    ///
    /// # Errors
    /// The listener has no local address.
    pub(super) fn open(
        listener: TcpListener,
        servers: &GatewayServers,
        picker: Arc<Picker>,
        ready: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (phase, is_phase) = watch::channel(DrainPhase::Serving);
        let ext_proc = ExtProc { picker: Arc::clone(&picker) };
        let server = servers.serve(listener, ext_proc, HealthService { ready, phase: is_phase });
        Ok(Self { address, phase, server, picker })
    }

    /// Returns the listen address.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Moves on to `phase`.
    pub(super) fn advance(&self, phase: DrainPhase) {
        self.phase.send_if_modified(|current| {
            let is_later = *current < phase;
            *current = phase.max(*current);
            is_later
        });
    }

    /// Closes the port and waits until its streams have ended, at most for `timeout`. Then it aborts them.
    pub(super) async fn close(mut self, timeout: Duration) {
        self.advance(DrainPhase::Closing);
        if tokio::time::timeout(timeout, &mut self.server).await.is_ok() {
            return;
        }
        let (address, streams) = (self.address, self.picker.metrics.open_streams.get());
        tracing::warn!(%address, ?timeout, streams, "aborting requests that did not end within the drain timeout");
        self.server.abort();
    }
}
