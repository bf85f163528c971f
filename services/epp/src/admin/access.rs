//! Access control of the debug routes on the metrics port.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::config::ExplainAccess;
use crate::deciding::picker::Picker;

/// The state of the debug routes: the picker they read, and which clients may call them.
#[derive(Clone, Debug)]
pub(crate) struct DebugRoutes {
    pub(crate) picker: Arc<Picker>,
    pub(crate) access: ExplainAccess,
}

impl DebugRoutes {
    /// Returns the response to a client that may not call the debug routes; `None` for one that may.
    pub(crate) fn refusal(&self, peer: SocketAddr) -> Option<Response> {
        let is_refused = self.access == ExplainAccess::Loopback && !peer.ip().is_loopback();
        let reason = "explanations are available from this host only; start the EPP with --allow-remote-explain to change that";
        is_refused.then(|| (StatusCode::FORBIDDEN, reason).into_response())
    }
}
