//! Connections to aggregators.

use std::error::Error;
use std::time::Duration;

use signalbox_tls::{ConnectError, Security, root_cause};
use signalbox_types::PeerAddress;
use tonic::Status;
use tonic::transport::Channel;

/// How long an aggregator has to accept a connection.
const DEADLINE: Duration = Duration::from_secs(2);

/// How often a peer is asked whether it is there, and how long it has to answer: together less than a failover may take.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A connection to an aggregator.
///
/// # Errors
/// When it cannot be reached within two seconds, or is not to be spoken with.
pub async fn connect(aggregator: &PeerAddress, security: &Security) -> Result<Channel, ConnectError> {
    let settings = |endpoint: tonic::transport::Endpoint| {
        endpoint
            .connect_timeout(DEADLINE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true)
    };
    security.connect(aggregator, settings).await
}

/// What a status says; of a connection that broke, why it did.
pub fn why(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), |cause| root_cause(cause).to_string())
}
