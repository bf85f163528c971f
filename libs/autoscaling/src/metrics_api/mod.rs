//! The aggregated API server with the metrics of pools.
//!
//! The API server of the cluster passes requests on, with a certificate of its front proxy and the name of who asks in
//! headers. Whoever reaches the port can send such headers, so they count with that certificate alone.

mod access;
mod certificates;
mod connections;
mod pool_metrics;
mod reviews;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Extension, Router};
use signalbox_kube::AuthenticationConfig;
use signalbox_metrics_api::{Answer, answer};
use signalbox_tls::Connection;
use tokio::sync::watch;
use tokio_stream::wrappers::ReceiverStream;

use self::access::Access;
use self::connections::ClientConnection;
use self::pool_metrics::PoolMetrics;
pub use self::reviews::AccessReviews;
use crate::signals::Signals;

/// How the metrics are served.
#[derive(Debug)]
pub struct MetricsApiSettings<R> {
    /// Whether `external.metrics.k8s.io` is served, too.
    pub serves_external: bool,
    /// How clients prove who they are; `None` until that is known.
    pub authentication: watch::Receiver<Option<AuthenticationConfig>>,
    /// Who knows the owners of tokens, and what users may do.
    pub reviews: R,
}

/// The API server. Clones share what it knows.
#[derive(Debug)]
pub struct MetricsApi<S, R>(Arc<Shared<S, R>>);

#[derive(Debug)]
struct Shared<S, R> {
    signals: S,
    access: Access<R>,
    serves_external: bool,
}

impl<S, R> Clone for MetricsApi<S, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Signals, R: AccessReviews> MetricsApi<S, R> {
    /// Answers out of `signals`.
    pub fn new(signals: S, settings: MetricsApiSettings<R>) -> Self {
        let MetricsApiSettings { serves_external, authentication, reviews } = settings;
        Self(Arc::new(Shared { signals, access: Access::new(authentication, reviews), serves_external }))
    }

    /// Serves the connections until `stopped`. `/healthz` and `/livez` fail while `live` returns an error, and `/readyz` while
    /// `ready` does, or while it is not known how clients prove who they are. Everyone may ask for these.
    pub async fn serve(
        self,
        incoming: ReceiverStream<io::Result<Connection>>,
        live: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
        ready: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) {
        let live = async move || probe(live());
        let api = self.clone();
        let ready = async move || probe(ready().and_then(|()| api.0.access.check_ready()));
        let routes = Router::new()
            .route("/healthz", get(live.clone()))
            .route("/livez", get(live))
            .route("/readyz", get(ready))
            .fallback(handle::<S, R>)
            .with_state(self);
        connections::serve(incoming, routes, stopped).await;
    }
}

fn probe(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => (StatusCode::OK, "ok").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason).into_response(),
    }
}

async fn handle<S: Signals, R: AccessReviews>(
    State(api): State<MetricsApi<S, R>>,
    Extension(client): Extension<ClientConnection>,
    request: Request,
) -> Response {
    let (parts, _) = request.into_parts();
    let Answer { code, body } = match api.0.access.check(&parts, &client).await {
        Ok(()) => answer(&parts.method, &parts.uri, api.0.serves_external, &PoolMetrics(&api.0.signals)),
        Err(failure) => failure.into(),
    };
    let code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (code, Json(body)).into_response()
}
