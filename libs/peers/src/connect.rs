//! Connects to aggregators.

use std::error::Error;
use std::time::Duration;

use signalbox_tls::{ConnectError, Security, root_cause};
use signalbox_types::PeerAddress;
use tonic::Status;
use tonic::transport::Channel;

/// Time limit for an aggregator to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval of keep-alive pings, and the time limit for an answer. Together they are shorter than a failover
/// may take.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// Connects to an aggregator.
///
/// # Errors
/// When the aggregator does not accept the connection within two seconds, or `security` forbids it.
pub async fn connect(aggregator: &PeerAddress, security: &Security) -> Result<Channel, ConnectError> {
    let settings = |endpoint: tonic::transport::Endpoint| {
        endpoint
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
    };
    security.connect(aggregator, settings).await
}

/// Returns the message of a status; for a connection that broke, the reason.
pub fn status_reason(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), |cause| root_cause(cause).to_string())
}
