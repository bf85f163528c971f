//! `GET /queues`: what waits for a place at this replica, and how full the pool is.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::access::DebugRoutes;
use crate::deciding::picker::Picker;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueuesQuery {
    /// The pool, NAMESPACE/NAME; needed if there are several.
    pool: Option<String>,
}

/// What waits for a place.
#[derive(Debug, Serialize)]
struct Queues {
    /// Whether requests wait while the pool is full.
    enabled: bool,
    /// The pool's saturation as this replica sees it: 0 is idle, 1 is full.
    saturation: f64,
    /// The highest priority of which requests wait at any replica.
    highest_waiting: Option<i32>,
    /// Whether this replica grants by itself, because it hears no owner.
    grants_locally: bool,
    /// Each flow of which requests wait here.
    here: Vec<QueuedFlow>,
    /// What waits at all replicas of each priority, highest first, as the pool's owner knows it.
    everywhere: Vec<QueuedBand>,
}

/// The requests of one flow that wait.
#[derive(Debug, Serialize)]
struct QueuedFlow {
    priority: i32,
    fairness_id: String,
    requests: u64,
    bytes: u64,
    /// Uncached prompt tokens and expected output tokens.
    tokens: u64,
    /// How long the oldest request has waited, in milliseconds.
    oldest_wait_ms: u64,
}

/// The requests of one priority that wait.
#[derive(Debug, Serialize)]
struct QueuedBand {
    priority: i32,
    requests: u64,
    bytes: u64,
    tokens: u64,
}

/// Returns the route for the metrics port.
pub(crate) fn routes(debug: DebugRoutes) -> Router {
    Router::new().route("/queues", get(respond)).with_state(debug)
}

async fn respond(
    State(debug): State<DebugRoutes>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<QueuesQuery>,
) -> Response {
    match debug.picker(peer, query.pool.as_deref()) {
        Ok(picker) => Json(queues(&picker)).into_response(),
        Err(refusal) => *refusal,
    }
}

fn queues(picker: &Picker) -> Queues {
    let view = &picker.snapshot.load().view;
    let here = picker.gate.backlogs(picker.now_ms()).into_iter().map(|(flow, backlog)| QueuedFlow {
        priority: flow.priority,
        fairness_id: flow.id.to_string(),
        requests: backlog.usage.requests,
        bytes: backlog.usage.bytes,
        tokens: backlog.usage.tokens,
        oldest_wait_ms: backlog.oldest_wait_ms,
    });
    let everywhere = picker.waiting_bands().into_iter().map(|(priority, usage)| QueuedBand {
        priority,
        requests: usage.requests,
        bytes: usage.bytes,
        tokens: usage.tokens,
    });
    Queues {
        enabled: picker.gate.is_waiting_room(),
        saturation: picker.pool_saturation(view),
        highest_waiting: picker.gate.highest_waiting(picker.owner_silence_ms()),
        grants_locally: picker.gate.grants_locally(),
        here: here.collect(),
        everywhere: everywhere.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deciding::admission::NotPicked;
    use crate::deciding::recorder::RequestContext;
    use crate::test_support::{picker, prompt_of};

    #[test]
    fn waiting_requests_are_listed_by_flow() {
        let picker = picker(&[]);
        let mut parsed = prompt_of(4, 256);
        (parsed.request.priority, parsed.request.flow) = (3, Some("team".to_owned()));
        let Err(NotPicked::Waits(held)) = picker.pick(parsed, RequestContext::default()) else {
            panic!("the pool is empty")
        };
        let _place = picker.wait(&held, 77).unwrap();
        let shown = serde_json::to_value(queues(&picker)).unwrap();
        assert_eq!((&shown["enabled"], &shown["highest_waiting"]), (&true.into(), &3.into()), "{shown}");
        let flow = &shown["here"][0];
        assert_eq!((&flow["fairness_id"], &flow["bytes"]), (&"team".into(), &77.into()), "{shown}");
        assert_eq!(1, shown["here"].as_array().unwrap().len());
    }
}
