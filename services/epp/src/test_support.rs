//! Builds pickers for tests, each with the view of a real pool.

use std::sync::Arc;
use std::time::Duration;

use signalbox_schedule::Policy;
use signalbox_state::{
    AssignedEndpoint, CollectorStream, FrameSource, Pool, PoolConfig, PoolEffect, PoolInput, Report,
    ScrapeStatus, StateReplica, Update,
};
use signalbox_types::{EndpointSpec, Engine, PoolId, PoolSpec};

use crate::config::EndpointScores;
use crate::deciding::decision_snapshot::DecisionSnapshot;
use crate::deciding::picker::Picker;
use crate::deciding::recorder::DecisionRecorder;
use crate::metrics::counters::Metrics;

pub(crate) const FIRST: &str = "10.0.0.1:80";
pub(crate) const SECOND: &str = "10.0.0.2:80";
pub(crate) const THIRD: &str = "10.0.0.3:80";

/// Returns a pool of endpoints at `addresses`, all with the same scrape status.
pub(crate) fn pool(addresses: &[&str], scrape_status: ScrapeStatus) -> Pool {
    let endpoint = |address: &&str| EndpointSpec {
        name: format!("pod at {address}"),
        address: address.parse().unwrap(),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: Default::default(),
    };
    let endpoints = addresses.iter().map(endpoint).collect();
    let id = PoolId { namespace: "default".to_owned(), name: "p".to_owned() };
    let mut pool = Pool::new(1, PoolConfig::default());
    let collector = CollectorStream(1);
    pool.handle(0, PoolInput::CollectorJoined(collector, "collector".to_owned()));
    let effects = pool.handle(0, PoolInput::Spec(PoolSpec { id, endpoints, models: Arc::default() }));
    for effect in effects {
        let PoolEffect::Assign(_, assigned) = effect else { continue };
        let report = |assigned: AssignedEndpoint| Report {
            endpoint: assigned.endpoint,
            generation: assigned.generation,
            age_ms: 0,
            update: Update { scrape_status, ..Update::default() },
        };
        pool.handle(0, PoolInput::Reports(collector, assigned.into_iter().map(report).collect()));
    }
    pool
}

/// Returns a picker with the view of `pool`.
pub(crate) fn picker_for(pool: &Pool, policy: Policy) -> Picker {
    let conversations = (signalbox_extproc::Config::default(), 0, EndpointScores::Hidden);
    let (metrics, recorder) = (Metrics::default(), DecisionRecorder::new(0, None));
    let (picker, ..) = Picker::new("epp", policy, conversations, Duration::from_secs(3), metrics, recorder);
    let mut replica = StateReplica::default();
    for frame in Arc::new(pool.snapshot()).frames() {
        replica.apply(FrameSource::Aggregator(0), frame);
    }
    picker.snapshot.store(Arc::new(DecisionSnapshot::next(
        &DecisionSnapshot::default(),
        &replica,
        &picker.bookings,
        0,
    )));
    picker
}

/// Returns a picker with the view of a pool of endpoints at `addresses`.
pub(crate) fn picker(addresses: &[&str]) -> Picker {
    picker_for(&pool(addresses, ScrapeStatus::Unknown), Policy::default())
}
