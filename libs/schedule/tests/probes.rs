//! A half-open circuit gets one probe, however many replicas see it at the same time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{Decision, DecisionInputs, Policy, decide};
use signalbox_state::{
    Bookings, Feedback, FrameSource, GaugeScope, PeerLoad, Pool, PoolConfig, PoolInput, PrefixMatches,
    ResponseOutcome, ResponseReport, StateReplica, View,
};
use signalbox_types::{
    EndpointKey, EndpointSpec, Engine, Load, MetricsTls, ModelKey, Origin, PoolId, PoolSpec, Request,
};

const MODEL: &str = "m";
/// When a circuit that opened at the start becomes half-open, in milliseconds.
const HALF_OPEN_MS: u64 = 1_000;

fn endpoint_spec(index: u8) -> EndpointSpec {
    let address = SocketAddr::from(([10, 0, 0, index], 8_000));
    EndpointSpec {
        name: format!("pod-{index}"),
        address,
        metrics_url: format!("http://{address}/metrics"),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    }
}

fn batch(
    origin: u64,
    seq: u64,
    gauges: Vec<(EndpointKey, Load)>,
    responses: Vec<ResponseReport>,
) -> PoolInput {
    PoolInput::Feedback(Feedback {
        epoch: 1,
        gauges,
        responses,
        ..Feedback::new(Origin(origin), seq, GaugeScope::Changed)
    })
}

/// Returns a pool of two endpoints. The first one has failed five times in a row, and its circuit is half-open now. The
/// second one is so busy that whoever may probe does.
fn pool(outcome: ResponseOutcome, replicas: u64) -> Pool {
    let mut pool = Pool::new(1, PoolConfig::default());
    let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
    let spec = PoolSpec { id, endpoints: (0..2).map(endpoint_spec).collect(), models: Arc::default() };
    pool.handle(0, PoolInput::Spec(Arc::new(spec)));
    let response = ResponseReport { endpoint: endpoint_spec(0).key(), model: ModelKey::of(MODEL), outcome };
    for seq in 0..5 {
        pool.handle(0, batch(1, seq, Vec::new(), vec![response]));
    }
    let load = Load { requests: 9, prefills: 9, prefill_tokens: 90_000 };
    for replica in 1..=replicas {
        pool.handle(0, batch(replica, 10, vec![(endpoint_spec(1).key(), load)], Vec::new()));
    }
    pool.handle(HALF_OPEN_MS, PoolInput::Tick);
    pool
}

/// Returns whether a request at a replica is sent to the first endpoint.
fn probes(pool: &Pool, replica: u64) -> bool {
    let (mut state, bookings) = (StateReplica::default(), Bookings::new(Arc::new(|| {})));
    let frames = Arc::new(pool.snapshot()).frames();
    frames.for_each(|frame| drop(state.apply(FrameSource::Aggregator(0), frame)));
    let view = View::next(&View::default(), &state, &bookings);
    let local = view.local_state(Origin(replica), PeerLoad::Current, HALF_OPEN_MS);
    let matches = PrefixMatches { blocks: vec![0; 2], total: 0 };
    let request = Request { model: MODEL.to_owned(), prompt_tokens: 2_000, ..Request::default() };
    let inputs = DecisionInputs { view: &view, local: &local, matches: &matches, request: &request };
    let mut rng = SmallRng::seed_from_u64(replica);
    let Decision::Picked { position, .. } = decide(&inputs, &Policy::default(), &mut rng) else {
        panic!("there are endpoints");
    };
    let is_probe = view.endpoints[position].key == endpoint_spec(0).key();
    assert_eq!(is_probe, inputs.is_probe(position));
    is_probe
}

#[test]
fn one_replica_probes_a_half_open_circuit() {
    for outcome in [ResponseOutcome::Failed, ResponseOutcome::Refused] {
        for replicas in [1, 2, 8, 32] {
            let pool = pool(outcome, replicas);
            let probers = (1..=replicas).filter(|replica| probes(&pool, *replica)).count();
            assert_eq!(1, probers, "{outcome:?}, {replicas} replicas");
        }
    }
}
