//! Access control of the debug routes on the metrics port.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::config::ExplainAccess;
use crate::deciding::picker::Picker;
use crate::directory::{PoolDirectory, Unselected};

/// The state of the debug routes: the pools they read, and which clients may call them.
#[derive(Clone, Debug)]
pub(crate) struct DebugRoutes {
    pub(crate) directory: Arc<PoolDirectory>,
    pub(crate) access: ExplainAccess,
}

impl DebugRoutes {
    /// Returns the picker of the pool that a client asks about; without a name, that of the only pool.
    ///
    /// # Errors
    /// The client may not call the debug routes, or there is no such pool. The error is the response.
    pub(crate) fn picker(&self, peer: SocketAddr, pool: Option<&str>) -> Result<Arc<Picker>, Box<Response>> {
        if self.access == ExplainAccess::Loopback && !peer.ip().is_loopback() {
            let reason = "explanations are available from this host only; start the EPP with --allow-remote-explain to change that";
            return Err(Box::new((StatusCode::FORBIDDEN, reason).into_response()));
        }
        self.directory.select(pool).map_err(|unselected| {
            let status = match unselected {
                Unselected::Several(_) => StatusCode::BAD_REQUEST,
                Unselected::NoPool | Unselected::Unknown(..) => StatusCode::NOT_FOUND,
            };
            Box::new((status, unselected.to_string()).into_response())
        })
    }
}
