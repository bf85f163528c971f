//! The port on which gateways ask for one pool.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::deciding::picker::Picker;
use crate::gateway::gateway_connections::GatewayConnections;
use crate::gateway::health::{DrainPhase, HealthService};
use crate::gateway::servers::{ExtProc, GatewayServers};

/// How long connections that are cut may take to end.
pub(crate) const CUT_TIMEOUT: Duration = Duration::from_millis(500);

/// The port on which gateways ask for one pool.
#[derive(Debug)]
pub(super) struct PoolPort {
    address: SocketAddr,
    phase: watch::Sender<DrainPhase>,
    server: JoinHandle<()>,
    connections: GatewayConnections,
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
        let connections = GatewayConnections::default();
        let ext_proc = ExtProc { picker, connections: connections.clone() };
        let server = servers.serve(listener, ext_proc, HealthService { ready, phase: is_phase });
        Ok(Self { address, phase, server, connections })
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

    /// Closes the port and waits until its streams have ended, at most for `timeout`. Then it cuts them, and returns
    /// how many.
    pub(super) async fn close(mut self, timeout: Duration) -> usize {
        self.advance(DrainPhase::Closing);
        if tokio::time::timeout(timeout, &mut self.server).await.is_ok() {
            return 0;
        }
        let (address, streams) = (self.address, self.connections.cut());
        if streams > 0 {
            tracing::warn!(%address, ?timeout, streams, "cut requests that did not end within the drain timeout");
        }
        if tokio::time::timeout(CUT_TIMEOUT, &mut self.server).await.is_err() {
            self.server.abort();
        }
        streams
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
    use signalbox_protos::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
    use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;
    use crate::test_support::{picker_of, replica};

    /// Opens streams on a port; they end when the senders are dropped.
    async fn open_streams(port: &PoolPort, count: usize) -> Vec<mpsc::Sender<ProcessingRequest>> {
        let mut client =
            ExternalProcessorClient::connect(format!("http://{}", port.address())).await.unwrap();
        let mut senders = Vec::new();
        for _ in 0..count {
            let (sender, requests) = mpsc::channel(1);
            // The server sees the stream only after its first message.
            sender.send(Request::RequestHeaders(Default::default()).into()).await.unwrap();
            client.process(ReceiverStream::new(requests)).await.unwrap();
            senders.push(sender);
        }
        senders
    }

    /// A pool that moves has two ports for a while.
    #[tokio::test]
    async fn port_cuts_and_counts_its_own_streams_only() {
        let (replica, picker) = (replica(), Arc::new(picker_of("default/p")));
        let (_set_ready, ready) = watch::channel(true);
        let open = async || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            PoolPort::open(listener, &replica.gateways, Arc::clone(&picker), ready.clone()).unwrap()
        };
        let (previous, port, idle) = (open().await, open().await, open().await);
        let _requests = (open_streams(&previous, 1).await, open_streams(&port, 2).await);
        assert_eq!(1, previous.close(Duration::ZERO).await);
        assert_eq!(2, picker.metrics.open_streams.get());
        assert_eq!(2, port.close(Duration::ZERO).await);
        assert_eq!(0, picker.metrics.open_streams.get());
        assert_eq!(0, idle.close(Duration::ZERO).await);
    }
}
