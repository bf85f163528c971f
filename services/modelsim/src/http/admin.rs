//! The endpoints other than inference: models, metrics, faults, restart.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use super::connection::SurvivesRestart;
use super::error::ApiError;
use crate::pod::{Faults, MetricsFault, MetricsPage, Pod};

/// The line that an endless metrics page repeats; valid by itself.
const ENDLESS_LINES: &str = "# and so on\n";
const ENDLESS_CHUNK_BYTES: usize = 16 * 1024;

#[derive(Serialize)]
pub(super) struct ModelList<'a> {
    object: &'static str,
    data: Vec<ModelCard<'a>>,
}

#[derive(Serialize)]
struct ModelCard<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// The base model of an adapter.
    parent: Option<&'a str>,
    max_model_len: u64,
}

pub(super) async fn models(State(pod): State<Arc<Pod>>) -> Response {
    let config = &pod.config;
    let card = |id, parent| ModelCard {
        id,
        object: "model",
        created: pod.incarnations.current().started_at_seconds as u64,
        owned_by: "signalbox",
        parent,
        max_model_len: config.model.max_request_tokens(),
    };
    let models = config.models.iter().map(|model| card(model.as_str(), None));
    let adapters = config.loras.iter().map(|lora| card(lora, config.models.first().map(String::as_str)));
    let data = models.chain(adapters).collect();
    Json(ModelList { object: "list", data }).into_response()
}

pub(super) async fn health(State(pod): State<Arc<Pod>>) -> StatusCode {
    let is_unhealthy = pod.incarnations.current().faults.faults().unhealthy;
    if is_unhealthy { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

pub(super) async fn metrics(State(pod): State<Arc<Pod>>) -> Response {
    match pod.incarnations.current().faults.faults().metrics {
        MetricsFault::Normal | MetricsFault::Frozen => page_response(Body::from(page(&pod))),
        MetricsFault::Garbage => {
            Html("<!doctype html><title>This is no metrics page</title>\n").into_response()
        }
        MetricsFault::Stalled => {
            pod.draining.cancelled().await;
            ApiError::stopping().into_response()
        }
        MetricsFault::Endless => {
            let page = page(&pod);
            let start = page.strip_suffix("# EOF\n").unwrap_or(&page).to_owned();
            let start = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(start))]);
            let chunk = Bytes::from(ENDLESS_LINES.repeat(ENDLESS_CHUNK_BYTES / ENDLESS_LINES.len()));
            let rest = stream::repeat_with(move || Ok(chunk.clone()));
            let until_draining = pod.draining.clone().cancelled_owned();
            page_response(Body::from_stream(start.chain(rest).take_until(until_draining)))
        }
    }
}

fn page(pod: &Pod) -> String {
    let incarnation = pod.incarnations.current();
    let snapshot = incarnation.faults.reported_snapshot(incarnation.engine.snapshot());
    let (config, faults) = (&pod.config, incarnation.faults.faults());
    let (injected_errors, started_at_seconds) = (incarnation.faults.errors(), incarnation.started_at_seconds);
    MetricsPage { config, snapshot, faults, injected_errors, started_at_seconds }.render()
}

fn page_response(body: Body) -> Response {
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body).into_response()
}

pub(super) async fn show_faults(State(pod): State<Arc<Pod>>) -> Json<Faults> {
    Json(pod.incarnations.current().faults.faults())
}

/// Replaces all faults; fields that the body omits return to normal.
pub(super) async fn set_faults(State(pod): State<Arc<Pod>>, body: Bytes) -> Result<Json<Faults>, ApiError> {
    let faults: Faults = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("invalid faults: {error}")))?;
    pod.incarnations.current().set_faults(faults)?;
    Ok(Json(faults))
}

pub(super) async fn clear_faults(State(pod): State<Arc<Pod>>) -> Result<Json<Faults>, ApiError> {
    let faults = Faults::default();
    pod.incarnations.current().set_faults(faults)?;
    Ok(Json(faults))
}

/// Restarts the pod. Only the connection that carries this request survives.
pub(super) async fn restart(
    State(pod): State<Arc<Pod>>,
    ConnectInfo(survives_restart): ConnectInfo<SurvivesRestart>,
) {
    survives_restart.set();
    pod.restart();
}
