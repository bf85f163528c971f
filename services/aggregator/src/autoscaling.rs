//! Serves KEDA and the HPA what the owners of the pools have published.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use signalbox_autoscaling::{Keda, Latest, MetricsApi, MetricsApiSettings, SignalChanges, Signals};
use signalbox_kube::{Reviews, watch_authentication_config};
use signalbox_telemetry::listen;
use signalbox_tls::Security;
use signalbox_types::PoolId;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_stream::wrappers::WatchStream;

use crate::config::{AutoscalingConfig, MetricsApiConfig};
use crate::pools::{PoolHandle, Pools};
use crate::start_error::StartError;

/// The signals of the pools of this aggregator, whichever aggregator owns them.
#[derive(Clone, Debug)]
struct PoolSignals(Pools);

impl PoolSignals {
    fn find(&self, pool: &PoolId) -> Option<Arc<PoolHandle>> {
        self.0.find(Some(&pool.to_string())).ok()
    }
}

impl Signals for PoolSignals {
    fn pools(&self, namespace: &str) -> Vec<PoolId> {
        let all = self.0.all();
        all.iter().filter(|of| of.pool.namespace == namespace).map(|of| of.pool.clone()).collect()
    }

    fn latest(&self, pool: &PoolId) -> Option<Latest> {
        let published = self.find(pool)?.signal.get();
        Some(published.map_or_else(Latest::default, |published| Latest {
            now_ms: published.pool_now_ms(),
            signal: Some(Arc::clone(&published.signal)),
        }))
    }

    fn changes(&self, pool: &PoolId) -> Option<SignalChanges> {
        Some(WatchStream::new(self.find(pool)?.signal.changes.subscribe()).boxed())
    }
}

/// The ports for autoscalers, open but not served yet.
#[derive(Debug)]
pub(crate) struct AutoscalingPorts {
    keda: Option<TcpListener>,
    metrics_api: Option<(TcpListener, MetricsApiConfig)>,
}

/// The servers for autoscalers.
#[derive(Debug)]
pub(crate) struct AutoscalingServers {
    pub(crate) keda_address: Option<SocketAddr>,
    pub(crate) metrics_api_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl AutoscalingPorts {
    /// Opens the ports.
    pub(crate) async fn bind(config: AutoscalingConfig, security: &Security) -> Result<Self, StartError> {
        let keda = match config.keda {
            Some(address) => {
                security.check_listen_address(address)?;
                Some(listen(address, "--keda-port").await?)
            }
            None => None,
        };
        let metrics_api = match config.metrics_api {
            Some(config) => Some((listen(config.listen, "--metrics-api-port").await?, config)),
            None => None,
        };
        Ok(Self { keda, metrics_api })
    }

    /// Serves what the owners of `pools` publish. The metrics API is live while `live` returns no error, and ready while
    /// `ready` returns none.
    pub(crate) fn serve(
        self,
        pools: &Pools,
        security: &Security,
        live: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
        ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    ) -> AutoscalingServers {
        let signals = PoolSignals(pools.clone());
        let (stop, mut tasks) = (watch::Sender::new(false), JoinSet::new());
        let address = |listener: &TcpListener| listener.local_addr().ok();
        let keda_address = self.keda.as_ref().and_then(address);
        let metrics_api_address = self.metrics_api.as_ref().and_then(|(listener, _)| address(listener));
        if let Some(listener) = self.keda {
            let keda = Keda::new(signals.clone(), security.clone());
            tasks.spawn(keda.serve(security.clone().incoming(listener), stopped(&stop)));
        }
        if let Some((listener, config)) = self.metrics_api {
            let settings = MetricsApiSettings {
                serves_external: config.serves_external,
                authentication: watch_authentication_config(&config.cluster),
                reviews: Reviews::new(config.cluster),
            };
            let api = MetricsApi::new(signals, settings);
            tasks.spawn(api.serve(config.tls.incoming(listener), live, ready, stopped(&stop)));
        }
        AutoscalingServers { keda_address, metrics_api_address, stop, tasks }
    }
}

impl AutoscalingServers {
    /// Ends all streams, then, after `grace` at most, all connections.
    pub(crate) async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        // Those that have not ended by then are aborted.
        let _ = timeout(grace, ended).await;
    }
}

/// Waits until the servers are to stop.
fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut stop = stop.subscribe();
    async move {
        let _ = stop.wait_for(|stop| *stop).await;
    }
}
