//! The requests that the server answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::store::{Refusal, Store};
use super::{Mode, Shared};

/// How long a slow server takes.
const SLOW: Duration = Duration::from_secs(3);

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/team/leases";

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(LEASES, get(list_or_watch).post(create))
        .route(&format!("{LEASES}/{{name}}"), get(read).put(replace).delete(delete))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), obey_mode))
        .with_state(shared)
}

/// Delays or refuses a request, as the mode says.
async fn obey_mode(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let mut modes = shared.mode.subscribe();
    let mode = modes.wait_for(|mode| *mode != Mode::Hangs).await.map(|mode| *mode);
    let is_write = *request.method() != Method::GET;
    let is_about_pool = request.uri().path().contains(".pool.");
    let is_list = !is_write && request.uri().path() == LEASES;
    {
        let mut store = shared.store();
        store.writes += u64::from(is_write);
        store.about_pools += u64::from(is_about_pool);
        store.lists += u64::from(is_list);
    }
    match mode {
        Ok(Mode::FailsForPools) if is_about_pool => return refusal((503, "ServiceUnavailable")),
        Ok(Mode::IsSlow) => tokio::time::sleep(SLOW).await,
        _ => {}
    }
    match mode {
        Ok(Mode::Fails) => refusal((503, "ServiceUnavailable")),
        Ok(Mode::FailsLists) if is_list => refusal((503, "ServiceUnavailable")),
        Ok(Mode::ForbidsWrites) if is_write => refusal((403, "Forbidden")),
        _ => next.run(request).await,
    }
}

async fn list_or_watch(
    State(shared): State<Arc<Shared>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Response {
    let selector = parameters.get("labelSelector").cloned().unwrap_or_default();
    if !parameters.contains_key("watch") {
        return Json(shared.store().list(&selector)).into_response();
    }
    let after = parameters.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let generation = shared.store().generation;
    let watch = Watch { generation, shared, selector, after };
    Body::from_stream(stream::unfold(watch, Watch::next)).into_response()
}

struct Watch {
    shared: Arc<Shared>,
    selector: String,
    after: u64,
    generation: u64,
}

impl Watch {
    /// Waits for changes and returns them as lines, or `None` when the watch ends.
    async fn next(mut self) -> Option<(std::io::Result<String>, Self)> {
        let mut changes = self.shared.changes.subscribe();
        loop {
            let mode = *self.shared.mode.borrow();
            if matches!(mode, Mode::Fails | Mode::EndsWatches)
                || self.shared.store().generation != self.generation
            {
                return None;
            }
            if !matches!(mode, Mode::Hangs | Mode::MuteWatches) {
                let (lines, revision) = self.shared.store().changes_after(self.after, &self.selector);
                self.after = revision;
                if !lines.is_empty() {
                    let text = lines.iter().map(|line| format!("{line}\n")).collect();
                    return Some((Ok(text), self));
                }
            }
            changes.changed().await.ok()?;
        }
    }
}

async fn read(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Response {
    match shared.store().object(&name) {
        Some(object) => Json(object).into_response(),
        None => refusal((404, "NotFound")),
    }
}

async fn create(State(shared): State<Arc<Shared>>, Json(object): Json<Value>) -> Response {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    write(&shared, |store| store.create(&name, object))
}

async fn replace(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(object): Json<Value>,
) -> Response {
    write(&shared, |store| store.replace(&name, object))
}

async fn delete(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    Json(options): Json<Value>,
) -> Response {
    write(&shared, |store| store.delete(&name, &options["preconditions"]))
}

fn write(shared: &Shared, write: impl FnOnce(&mut Store) -> Result<Value, Refusal>) -> Response {
    let written = write(&mut shared.store());
    shared.notify();
    written.map_or_else(refusal, |object| Json(object).into_response())
}

fn refusal((code, reason): Refusal) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("the request was refused: {reason}"), "reason": reason, "code": code,
    });
    (StatusCode::from_u16(code).unwrap_or_default(), Json(status)).into_response()
}
