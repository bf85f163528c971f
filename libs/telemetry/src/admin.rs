//! The small HTTP server on a process's metrics port.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An empty registry whose metrics are all called `signalbox_<service>_...`.
pub fn registry(service: &str) -> Registry {
    Registry::with_prefix(format!("signalbox_{service}"))
}

/// Serves `/metrics`, `/healthz`, and what a service adds.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Serves on `listener` from now on. Routes in `more` may ask for their peer's address by
    /// [`axum::extract::ConnectInfo`].
    ///
    /// # Errors
    /// When the listener is no more.
    pub fn start(listener: TcpListener, registry: Arc<Registry>, more: Router) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(());
        let metrics = move || {
            let registry = Arc::clone(&registry);
            async move { page(&registry) }
        };
        let router =
            Router::new().route("/metrics", get(metrics)).route("/healthz", get(async || "ok")).merge(more);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let until = async move {
            let _ = stopped.changed().await;
        };
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(until).await {
                tracing::error!(%error, "the metrics port is served no more");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more and ends; a page that is being written may be cut.
    pub fn stop(self) {
        let _ = self.stop.send(());
        self.task.abort();
    }
}

fn page(registry: &Registry) -> Response {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(CONTENT_TYPE, TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
