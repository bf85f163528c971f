//! The HTTP server on a process's metrics port.

use std::net::SocketAddr;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::registries::Registries;

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
    pub fn start(
        listener: TcpListener,
        registries: impl Into<Registries>,
        routes: Router,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(());
        let registries = registries.into();
        let metrics = move || metrics_page(registries.clone());
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

/// Returns the metrics page. It is written on a thread of its own, as there may be many pools.
async fn metrics_page(registries: Registries) -> Response {
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let failure = |error: String| (StatusCode::INTERNAL_SERVER_ERROR, error).into_response();
    match spawn_blocking(move || registries.page()).await {
        Ok(Ok(text)) => ([(CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Ok(Err(error)) => failure(error.to_string()),
        Err(error) => failure(error.to_string()),
    }
}
