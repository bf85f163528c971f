//! Everything that is not inference: models, metrics, faults.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use futures_util::stream::{self, StreamExt};
use serde::Serialize;

use super::Service;
use super::error::ApiError;
use crate::connection::Spared;
use crate::faults::{Faults, MetricsFault};
use crate::metrics::Page;

/// What an endless metrics page goes on with: lines that are fine one by one.
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
    /// The model that an adapter is of.
    parent: Option<&'a str>,
    max_model_len: u64,
}

pub(super) async fn models(State(service): State<Arc<Service>>) -> Response {
    let config = &service.config;
    let card = |id, parent| ModelCard {
        id,
        object: "model",
        created: service.lives.present().started_at_seconds as u64,
        owned_by: "signalbox",
        parent,
        max_model_len: config.model.limit_tokens(),
    };
    let models = config.models.iter().map(|model| card(model.as_str(), None));
    let adapters = config.loras.iter().map(|lora| card(lora, config.models.first().map(String::as_str)));
    let data = models.chain(adapters).collect();
    Json(ModelList { object: "list", data }).into_response()
}

pub(super) async fn metrics(State(service): State<Arc<Service>>) -> Response {
    match service.lives.present().faults.faults().metrics {
        MetricsFault::Normal | MetricsFault::Frozen => page_response(Body::from(page(&service))),
        MetricsFault::Garbage => {
            Html("<!doctype html><title>This is no metrics page</title>\n").into_response()
        }
        MetricsFault::Stalled => {
            service.closing.cancelled().await;
            ApiError::stopping().into_response()
        }
        MetricsFault::Endless => {
            let beginning = stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from(page(&service)))]);
            let chunk = Bytes::from(ENDLESS_LINES.repeat(ENDLESS_CHUNK_BYTES / ENDLESS_LINES.len()));
            let rest = stream::repeat_with(move || Ok(chunk.clone()));
            let until_closing = service.closing.clone().cancelled_owned();
            page_response(Body::from_stream(beginning.chain(rest).take_until(until_closing)))
        }
    }
}

fn page(service: &Service) -> String {
    let life = service.lives.present();
    let snapshot = life.faults.shown(life.pod.snapshot());
    let (config, faults) = (&service.config, life.faults.faults());
    Page { config, snapshot, faults, started_at_seconds: life.started_at_seconds }.render()
}

fn page_response(body: Body) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body).into_response()
}

pub(super) async fn show_faults(State(service): State<Arc<Service>>) -> Json<Faults> {
    Json(service.lives.present().faults.faults())
}

/// Replaces all faults: what the body does not name becomes normal again.
pub(super) async fn set_faults(
    State(service): State<Arc<Service>>,
    body: Bytes,
) -> Result<Json<Faults>, ApiError> {
    let faults: Faults = serde_json::from_slice(&body)
        .map_err(|error| ApiError::bad_request(format!("these faults are not understood: {error}")))?;
    service.lives.present().set_faults(faults)?;
    Ok(Json(faults))
}

pub(super) async fn clear_faults(State(service): State<Arc<Service>>) -> Result<Json<Faults>, ApiError> {
    let faults = Faults::default();
    service.lives.present().set_faults(faults)?;
    Ok(Json(faults))
}

/// Drops everything but the connection on which it is asked for, and begins anew.
pub(super) async fn restart(State(service): State<Arc<Service>>, ConnectInfo(spared): ConnectInfo<Spared>) {
    spared.spare();
    service.restart();
}
