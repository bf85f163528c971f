//! Builds pickers for tests, each with the view of a real pool.

use std::sync::Arc;
use std::time::Duration;

use signalbox_intake::{Api, ParsedRequest};
use signalbox_schedule::Policy;
use signalbox_state::{
    AssignedEndpoint, CollectorStream, EndpointState, Feedback, FrameSource, GaugeScope, Pool, PoolConfig,
    PoolEffect, PoolInput, Report, ResponseOutcome, ResponseReport, ScrapeStatus, StateReplica, Update,
};
use signalbox_types::{
    BlockHash, EndpointSpec, Engine, ModelKey, Origin, PoolId, PoolSpec, PromptSize, Request,
};

use crate::config::EndpointScores;
use crate::deciding::decision_snapshot::DecisionSnapshot;
use crate::deciding::picker::{FeedbackReceivers, Picker};
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

/// Reports five requests for the model `m` at `address` with this outcome to the pool's owner.
pub(crate) fn report_five(pool: &mut Pool, address: &str, outcome: ResponseOutcome) {
    let at_address = |member: &&Arc<EndpointState>| member.spec.address.to_string() == address;
    let endpoint = pool.pool_state().endpoints().find(at_address).unwrap().key;
    let report = ResponseReport { endpoint, model: ModelKey::of("m"), outcome };
    let feedback = Feedback {
        epoch: 1,
        origin: Origin(9),
        seq: 1,
        scope: GaugeScope::All,
        gauges: Vec::new(),
        placements: Vec::new(),
        adapters: Vec::new(),
        responses: vec![report; 5],
        usage: Vec::new(),
    };
    pool.handle(0, PoolInput::Feedback(feedback));
}

/// Returns a replica that holds the state of `pool`.
pub(crate) fn replica_of(pool: &Pool) -> StateReplica {
    let mut replica = StateReplica::default();
    for frame in Arc::new(pool.snapshot()).frames() {
        replica.apply(FrameSource::Aggregator(0), frame);
    }
    replica
}

/// Returns a picker with the view of `pool`.
pub(crate) fn picker_for(pool: &Pool, policy: Policy) -> Picker {
    picker_with_feedback(pool, policy).0
}

/// Returns a picker with the view of `pool`, and the receivers of its feedback.
pub(crate) fn picker_with_feedback(pool: &Pool, policy: Policy) -> (Picker, FeedbackReceivers) {
    let conversations = (signalbox_extproc::Config::default(), 0, EndpointScores::Hidden);
    let (metrics, recorder) = (Metrics::default(), DecisionRecorder::new(0, None));
    let (picker, feedback, _) =
        Picker::new("epp", policy, conversations, Duration::from_secs(3), metrics, recorder);
    let replica = replica_of(pool);
    picker.snapshot.store(Arc::new(DecisionSnapshot::next(
        &DecisionSnapshot::default(),
        &replica,
        &picker.bookings,
        0,
    )));
    (picker, feedback)
}

/// Returns a picker with the view of a pool of endpoints at `addresses`.
pub(crate) fn picker(addresses: &[&str]) -> Picker {
    picker_for(&pool(addresses, ScrapeStatus::Unknown), Policy::default())
}

/// Returns a chat request with a prompt of `blocks` full blocks of text.
pub(crate) fn prompt_of(blocks: u64, block_bytes: u64) -> ParsedRequest {
    let prompt = PromptSize { text_bytes: blocks * block_bytes, ..PromptSize::default() };
    let request = Request { model: "m".to_owned(), prompt, ..Request::default() };
    let chain = (1..=blocks).map(BlockHash).collect();
    ParsedRequest { api: Api::Chat, request, chain, ..ParsedRequest::default() }
}
