//! Builds pickers for tests, each with the view of a real pool.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use signalbox_admission::{FlowControl, FlowMode};
use signalbox_flow::FlowSettings;
use signalbox_intake::{Api, ParsedRequest};
use signalbox_peers::Connections;
use signalbox_schedule::{Policy, Waited};
use signalbox_state::{
    AssignedEndpoint, CollectorStream, EndpointState, Feedback, FrameSource, GaugeScope, Pool, PoolConfig,
    PoolEffect, PoolInput, Report, ResponseOutcome, ResponseReport, ScrapeStatus, StateReplica, Update,
};
use signalbox_telemetry::Registries;
use signalbox_tls::{Security, ServerTls};
use signalbox_types::{
    BlockHash, EndpointSpec, Engine, MetricsTls, ModelKey, Origin, PoolId, PoolSpec, PromptSize, ReplicaKey,
    Request,
};
use tokio::sync::watch;

use crate::config::EndpointScores;
use crate::deciding::decision_snapshot::DecisionSnapshot;
use crate::deciding::picker::{FeedbackReceivers, Picker, PickerSettings};
use crate::deciding::recorder::{DecisionRecorder, RequestContext};
use crate::gateway::servers::{GatewayServers, MessageLimits};
use crate::metrics::counters::Metrics;
use crate::replica::Replica;

pub(crate) const FIRST: &str = "10.0.0.1:80";
pub(crate) const SECOND: &str = "10.0.0.2:80";
pub(crate) const THIRD: &str = "10.0.0.3:80";

/// Returns the specification of a pool of endpoints at `addresses`, of which those at `draining` drain.
fn pool_spec(addresses: &[&str], draining: &[&str]) -> PoolSpec {
    let endpoint = |address: &&str| EndpointSpec {
        name: format!("pod at {address}"),
        address: address.parse().unwrap(),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: Default::default(),
        is_draining: draining.contains(address),
        metrics_tls: MetricsTls::Verified,
    };
    let id = PoolId { namespace: "default".to_owned(), name: "p".to_owned() };
    PoolSpec { id, endpoints: addresses.iter().map(endpoint).collect(), models: Arc::default() }
}

/// Returns a pool of fresh endpoints at `addresses`, of which those at `draining` drain.
pub(crate) fn pool_with_draining(addresses: &[&str], draining: &[&str]) -> Pool {
    let mut pool = pool(addresses, ScrapeStatus::Fresh);
    pool.handle(0, PoolInput::Spec(pool_spec(addresses, draining).into()));
    pool
}

/// Returns a pool of endpoints at `addresses`, all with the same scrape status.
pub(crate) fn pool(addresses: &[&str], scrape_status: ScrapeStatus) -> Pool {
    let mut pool = Pool::new(1, PoolConfig::default());
    let collector = CollectorStream(1);
    pool.handle(0, PoolInput::CollectorJoined(collector, "collector".to_owned()));
    let effects = pool.handle(0, PoolInput::Spec(pool_spec(addresses, &[]).into()));
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

/// Reports five requests for the model `m` at `address` with this outcome to the pool's owner, as the replica `origin`.
pub(crate) fn report_five(pool: &mut Pool, origin: Origin, address: &str, outcome: ResponseOutcome) {
    let at_address = |member: &&Arc<EndpointState>| member.spec.address.to_string() == address;
    let endpoint = pool.pool_state().endpoints().find(at_address).unwrap().key;
    let report = ResponseReport { endpoint, model: ModelKey::of("m"), outcome };
    let feedback =
        Feedback { epoch: 1, responses: vec![report; 5], ..Feedback::new(origin, 1, GaugeScope::All) };
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

/// Returns the settings of a picker with flow control that revokes requests.
pub(crate) fn picker_settings(policy: Policy) -> PickerSettings {
    let settings = FlowSettings { revokes: true, ..FlowSettings::default() };
    PickerSettings {
        replica: ReplicaKey::of("epp"),
        policy: Arc::new(policy),
        flow_control: FlowControl { mode: FlowMode::On, settings: Arc::new(settings) },
        conversations: signalbox_extproc::Config::default(),
        fallback_endpoints: 0,
        scores: EndpointScores::Hidden,
        origin_ttl: Duration::from_secs(3),
    }
}

/// Returns a replica that knows no aggregators and serves no pools.
pub(crate) fn replica() -> Replica {
    let limits = MessageLimits { received_bytes: 1 << 20, sent_bytes: 1 << 20 };
    Replica {
        name: "epp".to_owned(),
        aggregators: watch::channel(Vec::new()).1,
        connections: Connections::new(Security::Local),
        picker: picker_settings(Policy::default()),
        decision_history: 8,
        tracer: None,
        registries: Registries::new(Registry::default()),
        directory: Arc::default(),
        failure: watch::Sender::new(None),
        gateways: GatewayServers::new(ServerTls::Plaintext, limits),
    }
}

/// Returns a picker with these settings and the view of `pool`.
pub(crate) fn picker_with(settings: PickerSettings, pool: &Pool) -> Picker {
    let recorder = DecisionRecorder::new(0, None);
    let picker = Picker::new(settings, Some("default/p"), Metrics::default(), recorder).0;
    show(&picker, pool);
    picker
}

/// Returns a picker with the view of `pool`, and the receivers of its feedback.
pub(crate) fn picker_with_feedback(pool: &Pool, policy: Policy) -> (Picker, FeedbackReceivers) {
    let settings = picker_settings(policy);
    let recorder = DecisionRecorder::new(0, None);
    let (picker, feedback, _) = Picker::new(settings, Some("default/p"), Metrics::default(), recorder);
    show(&picker, pool);
    (picker, feedback)
}

/// Gives a picker the view of `pool`.
pub(crate) fn show(picker: &Picker, pool: &Pool) {
    let (before, replica) = (DecisionSnapshot::default(), replica_of(pool));
    let next = DecisionSnapshot::next(&before, &replica, &picker.bookings);
    picker.snapshot.store(Arc::new(next));
}

/// Returns a picker without a view for the pool called `name`.
pub(crate) fn picker_of(name: &str) -> Picker {
    let recorder = DecisionRecorder::new(0, None);
    Picker::new(picker_settings(Policy::default()), Some(name), Metrics::default(), recorder).0
}

/// Returns a picker with the view of a pool of endpoints at `addresses`.
pub(crate) fn picker(addresses: &[&str]) -> Picker {
    picker_for(&pool(addresses, ScrapeStatus::Unknown), Policy::default())
}

/// Returns the context of a request that does not wait, because it has waited already.
pub(crate) fn granted() -> RequestContext<'static> {
    RequestContext { waited: Some(Waited::default()), ..RequestContext::default() }
}

/// Returns a chat request with a prompt of `blocks` full blocks of text.
pub(crate) fn prompt_of(blocks: u64, block_bytes: u64) -> ParsedRequest {
    let prompt = PromptSize { text_bytes: blocks * block_bytes, ..PromptSize::default() };
    let request = Request { model: "m".to_owned(), prompt, ..Request::default() };
    let chain = (1..=blocks).map(BlockHash).collect();
    ParsedRequest { api: Api::Chat, request, chain, ..ParsedRequest::default() }
}
