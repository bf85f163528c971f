//! The HTTP server of one pod.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::PodConfig;
use crate::engine::{ConfigError, Stats};
use crate::http::{PodListener, SurvivesRestart, router};
use crate::pod::{Faults, FaultsError, Incarnations, Pod};

/// How long connections may take to close after they were aborted.
const ABORT_GRACE: Duration = Duration::from_secs(1);

/// Why a pod did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is invalid.
    #[error("invalid configuration of the simulated model server: {0}")]
    Config(#[from] ConfigError),
    /// The listener has no local address.
    #[error("cannot read the listener's address")]
    Address(#[source] io::Error),
}

/// A running simulated model server. Dropping it aborts all requests; [`ModelServer::stop`] drains them
/// first.
pub struct ModelServer {
    address: SocketAddr,
    pod: Arc<Pod>,
    draining: CancellationToken,
    abort: CancellationToken,
    serving: JoinHandle<()>,
}

impl ModelServer {
    /// Starts serving on `listener`. Must be called within a Tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// Fails when the configuration is invalid or the listener has no local address.
    pub fn start(config: PodConfig, listener: TcpListener) -> Result<Self, StartError> {
        config.validate()?;
        let address = listener.local_addr().map_err(StartError::Address)?;
        let (draining, abort) = (CancellationToken::new(), CancellationToken::new());
        let pod = Arc::new(Pod {
            name: HeaderValue::from_str(&config.name)
                .expect("a valid configuration has a visible ASCII name"),
            incarnations: Incarnations::start(&config, abort.clone())?,
            draining: draining.clone(),
            config,
        });
        let app = router(Arc::clone(&pod)).into_make_service_with_connect_info::<SurvivesRestart>();
        let pod_listener = PodListener { listener, pod: Arc::clone(&pod) };
        let stop_accepting = draining.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            // Never returns an error: axum retries failures to accept.
            let _ = axum::serve(pod_listener, app).with_graceful_shutdown(stop_accepting).await;
        });
        Ok(Self { address, pod, draining, abort, serving })
    }

    /// Returns the address on which the pod listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.pod.config.name
    }

    /// Returns the engine's current stats, which injected faults of the metrics page do not affect.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.pod.incarnations.current().engine.snapshot().stats
    }

    /// Waits until the stats satisfy `predicate` and returns them; returns the last stats if the pod stops or
    /// restarts first.
    pub async fn wait_for_stats(&self, predicate: impl FnMut(&Stats) -> bool) -> Stats {
        self.pod.incarnations.current().engine.wait_for_stats(predicate).await
    }

    /// Replaces all faults, as `POST /admin/faults` does.
    ///
    /// # Errors
    /// Fails when a value is out of range; then nothing changes.
    pub fn set_faults(&self, faults: Faults) -> Result<(), FaultsError> {
        self.pod.incarnations.current().set_faults(faults)
    }

    /// Restarts the pod, as `POST /admin/restart` does. Requests in flight, connections, the cache and the
    /// faults are lost, and the start time is reset.
    pub fn restart(&self) {
        self.pod.restart();
    }

    /// Stops accepting connections, waits up to `grace` for the requests in flight, then aborts the rest.
    pub async fn stop(mut self, grace: Duration) {
        self.draining.cancel();
        if tokio::time::timeout(grace, &mut self.serving).await.is_err() {
            self.abort.cancel();
            // A client that does not read can keep its connection open longer; it is not waited for.
            let _ = tokio::time::timeout(ABORT_GRACE, &mut self.serving).await;
        }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.draining.cancel();
        self.abort.cancel();
        self.serving.abort();
    }
}
