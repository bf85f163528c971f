//! `POST /explain`: explains which endpoint a request would go to, and whether it would wait first. The body and the headers
//! are those of the request. Nothing is booked.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Query, State};
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use signalbox_extproc::{Action, Conversation, Event, Refusal};
use signalbox_intake::{Api, ParsedRequest};
use signalbox_protos::envoy::config::core::v3::{HeaderMap as GatewayHeaders, HeaderValue};
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;
use signalbox_protos::envoy::service::ext_proc::v3::{
    BodySendMode, HttpBody, HttpHeaders, ProcessingRequest, ProtocolConfiguration,
};
use signalbox_schedule::{ExpectedAdmission, ExplainedRequest};

use super::access::DebugRoutes;
use crate::deciding::admission::expected_refusal;
use crate::deciding::picker::Picker;

/// What curl says of a body when nobody tells it. No API takes such forms, so it says nothing about the request.
const CURL_DEFAULT: &str = "application/x-www-form-urlencoded";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    /// The pool, NAMESPACE/NAME; needed if there are several.
    pool: Option<String>,
    /// Path of the request; by default the path of the API that the body matches.
    path: Option<String>,
}

/// Returns the route for the metrics port.
pub(crate) fn routes(debug: DebugRoutes, body_limit_bytes: usize) -> Router {
    let limit = DefaultBodyLimit::max(body_limit_bytes);
    Router::new().route("/explain", post(respond)).layer(limit).with_state(debug)
}

async fn respond(
    State(debug): State<DebugRoutes>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<ExplainQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let picker = match debug.picker(peer, query.pool.as_deref()) {
        Ok(picker) => picker,
        Err(refusal) => return *refusal,
    };
    // Reading a large body takes too long for an async task.
    let explained =
        tokio::task::spawn_blocking(move || explain(&picker, &headers, query.path.as_deref(), body));
    match explained.await {
        Ok(Ok(explained)) => axum::Json(explained).into_response(),
        Ok(Err(reason)) => (StatusCode::BAD_REQUEST, reason).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Explains a request. One that is invalid would be refused.
///
/// # Errors
/// What is needed to tell.
fn explain(
    picker: &Picker,
    headers: &HeaderMap,
    path: Option<&str>,
    body: Bytes,
) -> Result<ExplainedRequest, &'static str> {
    let bytes = body.len() as u64;
    match read(picker, gateway_headers(headers, path), body) {
        Ok(parsed) if path.is_none() && parsed.api == Api::Opaque => {
            Err("the body is none of a known API; name the path of the request")
        }
        Ok(parsed) => Ok(picker.explain(&parsed, bytes)),
        Err(admission) => Ok(ExplainedRequest { admission, explanation: None }),
    }
}

/// Returns the headers of the request as a gateway sends them.
fn gateway_headers(headers: &HeaderMap, path: Option<&str>) -> GatewayHeaders {
    let is_of_request = |name: &HeaderName, value: &[u8]| {
        *name != HOST && !(*name == CONTENT_TYPE && value == CURL_DEFAULT.as_bytes())
    };
    let raw = |name: &str, value: &[u8]| HeaderValue::raw(name, Bytes::copy_from_slice(value));
    let of_request = headers.iter().filter(|(name, value)| is_of_request(name, value.as_bytes()));
    let of_request = of_request.map(|(name, value)| raw(name.as_str(), value.as_bytes()));
    let path = path.map(|path| raw(":path", path.as_bytes()));
    GatewayHeaders { headers: [raw(":method", b"POST")].into_iter().chain(path).chain(of_request).collect() }
}

/// Reads a request as one from a gateway: with the configured parsers, the pool's models and the body limit.
///
/// # Errors
/// How the request would be refused.
fn read(picker: &Picker, headers: GatewayHeaders, body: Bytes) -> Result<ParsedRequest, ExpectedAdmission> {
    let mut conversation = Conversation::new(picker.conversation_config(), rand::random());
    let mode = BodySendMode::FullDuplexStreamed.into();
    let headers = ProcessingRequest {
        request: Some(Message::RequestHeaders(HttpHeaders {
            headers: Some(headers),
            end_of_stream: body.is_empty(),
        })),
        protocol_config: Some(ProtocolConfiguration { request_body_mode: mode, response_body_mode: mode }),
        ..ProcessingRequest::default()
    };
    let mut actions = conversation.step(Event::Message(headers));
    if !actions.iter().any(|action| matches!(action, Action::Pick(_))) {
        let body = Message::RequestBody(HttpBody { body, end_of_stream: true });
        actions.extend(conversation.step(Event::Message(body.into())));
    }
    let parsed = actions.into_iter().find_map(|action| match action {
        Action::Pick(parsed) => Some(parsed),
        _ => None,
    });
    parsed.ok_or_else(|| {
        let incomplete = Refusal::BadRequest("the request is incomplete".to_owned());
        expected_refusal(conversation.refusal().unwrap_or(&incomplete))
    })
}

#[cfg(test)]
mod tests;
