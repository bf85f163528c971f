//! One pod: an HTTP server around one engine.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{ConfigError, PodConfig};
use crate::connection::{Door, Spared};
use crate::engine::Stats;
use crate::faults::{Faults, FaultsError};
use crate::http::{Service, router};
use crate::life::Lives;

/// How long connections get to notice that everything behind them is gone.
const CUT_GRACE: Duration = Duration::from_secs(1);

/// A pod that did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration makes no sense.
    #[error("the simulated model server cannot be configured like this: {0}")]
    Config(#[from] ConfigError),
    /// The listener has no address.
    #[error("the listener's address is unknown")]
    Address(#[source] io::Error),
}

/// A running simulated model server. Dropping it cuts everything off; [`ModelServer::stop`] does it in order.
pub struct ModelServer {
    address: SocketAddr,
    service: Arc<Service>,
    closing: CancellationToken,
    cut: CancellationToken,
    serving: JoinHandle<()>,
}

impl ModelServer {
    /// Starts serving on `listener`. Must be called within a tokio runtime with IO and time enabled.
    ///
    /// # Errors
    /// When the configuration makes no sense or the listener has no address.
    pub fn start(config: PodConfig, listener: TcpListener) -> Result<Self, StartError> {
        config.validate()?;
        let address = listener.local_addr().map_err(StartError::Address)?;
        let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
        let service = Arc::new(Service {
            name: HeaderValue::from_str(&config.name)
                .expect("a valid configuration has a visible ASCII name"),
            lives: Lives::begin(&config, cut.clone())?,
            closing: closing.clone(),
            config,
        });
        let app = router(Arc::clone(&service)).into_make_service_with_connect_info::<Spared>();
        let door = Door { listener, service: Arc::clone(&service) };
        let stop_accepting = closing.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            // Never returns an error: failures to accept are retried inside.
            let _ = axum::serve(door, app).with_graceful_shutdown(stop_accepting).await;
        });
        Ok(Self { address, service, closing, cut, serving })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pod's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service.config.name
    }

    /// The engine's present reading: the truth, whatever faults make the metrics page say.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.service.lives.present().pod.snapshot().stats
    }

    /// Waits until a reading satisfies `predicate` and returns it, or the last one if the pod stops or restarts before.
    pub async fn stats_when(&self, predicate: impl FnMut(&Stats) -> bool) -> Stats {
        self.service.lives.present().pod.stats_when(predicate).await
    }

    /// Replaces all faults, as `POST /admin/faults` does.
    ///
    /// # Errors
    /// When a value is out of range; then nothing changes.
    pub fn set_faults(&self, faults: Faults) -> Result<(), FaultsError> {
        self.service.lives.present().set_faults(faults)
    }

    /// Restarts it, as `POST /admin/restart` does: the requests in flight, the connections, the cache and the faults are gone, and
    /// it started just now.
    pub fn restart(&self) {
        self.service.restart();
    }

    /// Stops accepting connections, lets the requests in flight finish within `grace`, then cuts the rest off.
    pub async fn stop(mut self, grace: Duration) {
        self.closing.cancel();
        if tokio::time::timeout(grace, &mut self.serving).await.is_err() {
            self.cut.cancel();
            // A client that does not read keeps its connection; it is left to its end.
            let _ = tokio::time::timeout(CUT_GRACE, &mut self.serving).await;
        }
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.closing.cancel();
        self.cut.cancel();
        self.serving.abort();
    }
}
