//! The pools and the aggregators that an aggregator knows.

use std::collections::BTreeMap;

use signalbox_protos::signalbox::v1 as pb;
use signalbox_types::{PeerAddress, PoolId};

use crate::error::WireError;

/// What one aggregator knows of the pools and of the other aggregators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetState {
    /// Whether the aggregator has listed the pools, so that `pools` is complete.
    pub is_synced: bool,
    /// The pools.
    pub pools: BTreeMap<PoolId, ServedPool>,
    /// The live aggregators, first the sender.
    pub aggregators: Vec<PeerAddress>,
}

/// How a pool is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServedPool {
    /// The port on which replicas serve the pool to gateways; `None` for that of their `--grpc-port`.
    pub port: Option<u16>,
    /// When the pool was created, in milliseconds since the Unix epoch; 0 if that is unknown.
    pub created_ms: u64,
}

/// Encodes the state.
pub fn encode_fleet_state(state: &FleetState) -> pb::FleetState {
    let FleetState { is_synced, pools, aggregators } = state;
    let served_pool = |(pool, ServedPool { port, created_ms }): (&PoolId, &ServedPool)| pb::ServedPool {
        pool: pool.to_string(),
        port: port.map_or(0, u32::from),
        created_ms: *created_ms,
    };
    pb::FleetState {
        is_synced: *is_synced,
        pools: pools.iter().map(served_pool).collect(),
        aggregators: aggregators.iter().map(ToString::to_string).collect(),
    }
}

/// Decodes the state.
///
/// # Errors
/// [`WireError`] when the name of a pool, a port or an address is invalid.
pub fn decode_fleet_state(message: pb::FleetState) -> Result<FleetState, WireError> {
    let pb::FleetState { is_synced, pools, aggregators } = message;
    let address = |address: String| address.parse().map_err(|_| WireError::PeerAddress(address));
    Ok(FleetState {
        is_synced,
        pools: pools.into_iter().map(decode_served_pool).collect::<Result<_, _>>()?,
        aggregators: aggregators.into_iter().map(address).collect::<Result<_, _>>()?,
    })
}

fn decode_served_pool(message: pb::ServedPool) -> Result<(PoolId, ServedPool), WireError> {
    let pb::ServedPool { pool, port, created_ms } = message;
    let pool = pool.parse().map_err(|_| WireError::PoolName(pool))?;
    let port = u16::try_from(port).map_err(|_| WireError::Bounds("port"))?;
    Ok((pool, ServedPool { port: Some(port).filter(|port| *port > 0), created_ms }))
}
