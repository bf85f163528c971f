//! The HTTP server on a process's metrics port.

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

/// Returns an empty registry that prefixes all metric names with `signalbox_<service>_`.
pub fn registry(service: &str) -> Registry {
    Registry::with_prefix(format!("signalbox_{service}"))
}

/// Serves `/metrics`, `/healthz` and the routes of a service.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    stop: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Starts to serve on `listener`. The `routes` of the service can extract the client's address with
    /// [`axum::extract::ConnectInfo`].
    ///
    /// # Errors
    /// The listener has no local address.
    pub fn start(listener: TcpListener, registry: Arc<Registry>, routes: Router) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(());
        let metrics = move || {
            let registry = Arc::clone(&registry);
            async move { metrics_page(&registry) }
        };
        let router =
            Router::new().route("/metrics", get(metrics)).route("/healthz", get(async || "ok")).merge(routes);
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let stop_requested = async move {
            let _ = stopped.changed().await;
        };
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, service).with_graceful_shutdown(stop_requested).await {
                tracing::error!(%error, "the server on the metrics port failed");
            }
        });
        Ok(Self { address, stop, task })
    }

    /// Returns the listen address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops the server at once, which may cut off a response.
    pub fn stop(self) {
        let _ = self.stop.send(());
        self.task.abort();
    }
}

fn metrics_page(registry: &Registry) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let mut text = String::new();
    match encode(&mut text, registry) {
        Ok(()) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
