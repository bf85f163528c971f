//! Whether the aggregator is ready, for `/readyz`.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use signalbox_lease::Member;
use tokio::sync::watch;

use crate::pool_source::PoolSet;

/// How far the aggregator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// The pools have not been listed yet.
    ListingPools,
    /// The coordinator has not confirmed the registration yet.
    Registering,
    /// It serves the pools. It stays ready when the API server or the coordinator is unavailable later.
    Ready,
    /// It hands its pools over and exits.
    Stopping,
}

/// Watches the readiness of the aggregator with this name: the pools must be known, and it must be registered.
pub(crate) fn watch_readiness(
    mut sets: watch::Receiver<PoolSet>,
    name: String,
    mut members: watch::Receiver<Vec<Member>>,
) -> watch::Sender<Readiness> {
    let readiness = watch::Sender::new(Readiness::ListingPools);
    let sender = readiness.clone();
    tokio::spawn(async move {
        // These fail only if the aggregator has been dropped.
        if sets.wait_for(|set| set.is_synced).await.is_err() {
            return;
        }
        advance(&sender, Readiness::Registering);
        if members.wait_for(|members| members.iter().any(|member| member.name == name)).await.is_err() {
            return;
        }
        advance(&sender, Readiness::Ready);
        let pools = sets.borrow().pools.len();
        tracing::info!(pools, "aggregator ready");
    });
    readiness
}

/// Sets the readiness, unless the aggregator stops.
fn advance(readiness: &watch::Sender<Readiness>, next: Readiness) {
    readiness.send_if_modified(|current| {
        let is_stopping = *current == Readiness::Stopping;
        if !is_stopping {
            *current = next;
        }
        !is_stopping
    });
}

/// Checks that the aggregator is ready.
pub(crate) fn check(readiness: Readiness) -> Result<(), String> {
    let reason = match readiness {
        Readiness::Ready => return Ok(()),
        Readiness::ListingPools => "the pools have not been listed yet",
        Readiness::Registering => "the coordinator has not confirmed the registration yet",
        Readiness::Stopping => "stopping",
    };
    Err(reason.to_owned())
}

/// Returns the routes for probes: `/livez`, which fails while `health` returns an error, and `/readyz`.
pub(crate) fn routes(
    readiness: watch::Receiver<Readiness>,
    health: impl Fn() -> Result<(), String> + Clone + Send + Sync + 'static,
) -> Router {
    let live = async move || match health() {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    let ready = async move || match check(*readiness.borrow()) {
        Ok(()) => (StatusCode::OK, "ready".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason),
    };
    Router::new().route("/livez", get(live)).route("/readyz", get(ready))
}
