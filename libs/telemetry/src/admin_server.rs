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
        Self::start_with_health(listener, registries, routes, || Ok(()))
    }

    /// Starts to serve on `listener` like [`AdminServer::start`]. `/healthz` answers with status 503 and the text of
    /// the error while `health` returns one.
    ///
    /// # Errors
    /// The listener has no local address.
    pub fn start_with_health(
        listener: TcpListener,
        registries: impl Into<Registries>,
        routes: Router,
        health: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, mut stopped) = watch::channel(());
        let registries = registries.into();
        let metrics = move || metrics_page(registries.clone());
        let healthz = async move || match health() {
            Ok(()) => (StatusCode::OK, "ok".to_owned()),
            Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
        };
        let router =
            Router::new().route("/metrics", get(metrics)).route("/healthz", get(healthz)).merge(routes);
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Returns what the server answers to a request for `path`.
    async fn answer(server: &AdminServer, path: &str) -> String {
        let address = server.address();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let exchange = move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        spawn_blocking(exchange).await.unwrap()
    }

    #[tokio::test]
    async fn health_says_why_the_service_is_not_healthy() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (is_stuck, registries) = (Arc::new(AtomicBool::new(false)), Arc::new(registry("test")));
        let stuck = Arc::clone(&is_stuck);
        let health = move || if stuck.load(Ordering::Relaxed) { Err("stuck".to_owned()) } else { Ok(()) };
        let server = AdminServer::start_with_health(listener, registries, Router::new(), health).unwrap();
        let healthy = answer(&server, "/healthz").await;
        assert!(healthy.starts_with("HTTP/1.1 200") && healthy.ends_with("\r\n\r\nok"), "{healthy}");
        is_stuck.store(true, Ordering::Relaxed);
        let stuck = answer(&server, "/healthz").await;
        assert!(stuck.starts_with("HTTP/1.1 503") && stuck.ends_with("\r\n\r\nstuck"), "{stuck}");
        server.stop();
    }
}
