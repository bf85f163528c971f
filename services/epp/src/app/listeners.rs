//! The ports of a replica.

use signalbox_peers::FollowedPools;
use signalbox_telemetry::{ListenError, listen};
use tokio::net::TcpListener;

use super::PortFlags;
use crate::config::EppConfig;

/// The ports of a replica that are bound when it starts.
pub(super) struct Listeners {
    /// The port for gateways, if only one pool is served.
    pub(super) ext_proc: Option<TcpListener>,
    pub(super) health: TcpListener,
    pub(super) access_log: TcpListener,
    pub(super) metrics: TcpListener,
}

impl Listeners {
    /// Binds the ports. `flags` choose them.
    ///
    /// # Errors
    /// A port cannot be bound.
    pub(super) async fn bind(config: &EppConfig, flags: PortFlags) -> Result<Self, ListenError> {
        Ok(Self {
            ext_proc: match config.pools {
                FollowedPools::One(_) => Some(listen(config.ext_proc, flags.ext_proc).await?),
                FollowedPools::All => None,
            },
            health: listen(config.health, flags.health).await?,
            access_log: listen(config.access_log, flags.access_log).await?,
            metrics: listen(config.metrics, flags.metrics).await?,
        })
    }
}
