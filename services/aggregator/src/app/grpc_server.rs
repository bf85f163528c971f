//! The gRPC server for collectors, replicas and other aggregators.

use std::io;
use std::time::Duration;

use signalbox_protos::signalbox::v1::fleet_server::FleetServer;
use signalbox_protos::signalbox::v1::pool_server::PoolServer;
use signalbox_tls::{Connection, begun_within};
use tokio::sync::oneshot;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;

use crate::serve::StreamContext;

/// Maximum size of a received message: a batch of placements, or a frame that a follower offers.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Maximum number of streams on one connection. A process has up to four streams per pool on it.
const MAX_STREAMS: u32 = 16_384;

/// Streams that a process may give up before they are accepted, for example all those that it opened while this
/// process was frozen.
const MAX_RESET_STREAMS: usize = 16_384;

/// Bytes that may be in transit to this process on one connection. It is larger than all streams' windows
/// together, so that a stream that is not read does not hold up those of other pools.
const CONNECTION_WINDOW: u32 = 1 << 30;

/// How long a process may take to begin with HTTP/2.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Interval of pings on connections that are silent, and the time limit for an answer. A process that is frozen holds its
/// streams, and what was prepared for them, no longer than that.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves the connections until `stopped`, and until their streams have ended.
pub(super) async fn serve(
    incoming: ReceiverStream<io::Result<Connection>>,
    context: StreamContext,
    stopped: oneshot::Receiver<()>,
) {
    let until_stopped = async move {
        let _ = stopped.await;
    };
    let fleet = FleetServer::new(context.clone());
    let pool = PoolServer::new(context).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let services = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESET_STREAMS))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .add_service(fleet)
        .add_service(pool);
    let incoming = begun_within(BEGIN_TIMEOUT, incoming);
    let served = services.serve_with_incoming_shutdown(incoming, until_stopped);
    if let Err(error) = served.await {
        tracing::error!(%error, "the gRPC server failed");
    }
}
