//! Connections to aggregators.

use std::time::Duration;

use signalbox_types::PeerAddress;
use tonic::transport::{Channel, Endpoint, Error};

/// How long an aggregator has to accept a connection.
const DEADLINE: Duration = Duration::from_secs(2);

/// How often a peer is asked whether it is there, and how long it has to answer: together less than a failover may take.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A connection to an aggregator.
///
/// # Errors
/// When it cannot be reached within two seconds.
pub async fn connect(aggregator: &PeerAddress) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{aggregator}"))?;
    let endpoint = endpoint
        .connect_timeout(DEADLINE)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    endpoint.connect().await
}
