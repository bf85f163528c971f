//! `POST /explain`: which endpoint a request would go to, and why. The body is the request's body; it books nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use signalbox_intake::{Api, Reading, parse};

use crate::config::ExplainTo;
use crate::picker::Picker;

/// The path that the request would have; without it, that of the API that its body looks like.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    path: Option<String>,
}

/// What explains, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Explainer {
    pub(crate) picker: Arc<Picker>,
    pub(crate) to: ExplainTo,
}

impl Explainer {
    /// What somebody is answered who may not ask.
    pub(crate) fn refusal(&self, peer: SocketAddr) -> Option<Response> {
        let is_refused = self.to == ExplainTo::Loopback && !peer.ip().is_loopback();
        let why =
            "explanations are for this machine only; start the EPP with --explain-to-all to change that";
        is_refused.then(|| (StatusCode::FORBIDDEN, why).into_response())
    }
}

/// The route, for the metrics port.
pub(crate) fn routes(explainer: Explainer, body_limit_bytes: usize) -> Router {
    let limit = DefaultBodyLimit::max(body_limit_bytes);
    Router::new().route("/explain", post(answer)).layer(limit).with_state(explainer)
}

async fn answer(
    State(explainer): State<Explainer>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(asked): Query<Asked>,
    body: Bytes,
) -> Response {
    if let Some(refusal) = explainer.refusal(peer) {
        return refusal;
    }
    let picker = &explainer.picker;
    let snapshot = picker.snapshot.load();
    // By chance, as for a request without a session.
    let target = |asked: &str| snapshot.view.models.target(asked, None, rand::random()).map(str::to_owned);
    let how = Reading { block_bytes: snapshot.view.format.block_bytes, target: &target };
    let intake = match asked.path {
        Some(path) => parse(Api::of_path(&path), &body, &how),
        None => parse(Api::Chat, &body, &how).or_else(|_| parse(Api::Completions, &body, &how)),
    };
    match intake {
        Ok(intake) => axum::Json(picker.explain(&intake)).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}
