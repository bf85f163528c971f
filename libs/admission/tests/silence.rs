//! Without an owner, a replica judges the pool by its own requests, as if each of the others had sent as many.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_admission::{Admission, Admitter, FlowMode, OWNER_SILENCE_MS, Seen};
use signalbox_flow::{Detector, FlowSettings};
use signalbox_schedule::{CostTerms, Decision, DecisionInputs, Tier};
use signalbox_state::{
    ApplyOutcome, Booking, Bookings, Feedback, FrameSource, GaugeScope, PeerLoad, Pool, PoolConfig,
    PoolInput, PrefixMatches, StateReplica, View,
};
use signalbox_types::{EndpointSpec, Engine, Load, MetricsTls, Origin, PoolId, PoolSpec, Request};

const OWN: Origin = Origin(1);
const ENDPOINTS: u64 = 2;

/// Tokens in flight at each endpoint that make it full.
const FULL_TOKENS: u64 = 100_000;

/// What a replica of three knows of the pool.
struct Replica {
    view: View,
    bookings: Bookings,
    booked: Vec<Booking>,
}

impl Replica {
    /// Returns a replica whose view shows that each of the two others has `tokens` in flight at each endpoint.
    fn beside(tokens: u64) -> Self {
        let mut pool = Pool::new(1, PoolConfig::default());
        pool.handle(0, PoolInput::Spec(Arc::new(spec())));
        for origin in [2, 3] {
            let load = Load { requests: 1, prefills: 1, prefill_tokens: tokens };
            let gauges = spec().endpoints.iter().map(|of| (of.key(), load)).collect();
            pool.handle(0, PoolInput::Feedback(feedback(origin, gauges)));
        }
        let mut replica = StateReplica::default();
        let frames = Arc::new(pool.snapshot()).frames();
        let outcome = frames.map(|frame| replica.apply(FrameSource::Aggregator(1), frame)).last();
        assert_eq!(Some(ApplyOutcome::Reset), outcome);
        let bookings = Bookings::new(Arc::new(|| {}));
        let view = View::next(&View::default(), &replica, &bookings);
        Self { view, bookings, booked: Vec::new() }
    }

    /// Books one request with `tokens` at each endpoint.
    fn book(mut self, tokens: u64) -> Self {
        let keys = self.view.endpoints.iter().map(|of| of.key);
        self.booked = keys.map(|key| self.bookings.reserve(key, tokens)).collect();
        self
    }

    fn seen(&self, view_age_ms: u64) -> Seen<'_> {
        Seen { view: &self.view, origin: OWN, now_ms: 0, owner_silence_ms: view_age_ms, view_age_ms }
    }

    fn saturation(&self, view_age_ms: u64) -> f64 {
        self.seen(view_age_ms).pool_saturation(&Detector::default())
    }

    /// Returns what happens to a sheddable request at an endpoint that looks idle.
    fn admission(&self, mode: FlowMode, view_age_ms: u64) -> Admission {
        let settings = FlowSettings::default();
        let admitter = Admitter { mode, settings: &settings, highest_waiting: None, view_age_ms };
        let request = Request { priority: -1, ..Request::default() };
        // Nothing is known to be in flight there.
        let local = View::default().local_state(OWN, PeerLoad::Outdated, 0);
        let matches = PrefixMatches::default();
        let inputs = DecisionInputs { view: &self.view, local: &local, matches: &matches, request: &request };
        let decision = Decision::Picked { position: 0, terms: idle_terms() };
        admitter.admit(&inputs, &decision, || self.saturation(view_age_ms))
    }
}

fn idle_terms() -> CostTerms {
    CostTerms {
        tier: Tier::Open,
        cached_tokens: 0,
        ahead_tokens: 0,
        requests: 0,
        prefills: 0,
        wait_us: 0,
        prefill_us: 0,
        interference_us: 0,
        decode_us: 0,
        ramp_us: 0,
        others_us: 0,
        adapter_us: 0,
    }
}

fn spec() -> PoolSpec {
    let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
    let endpoint = |index| EndpointSpec {
        name: format!("pod-{index}"),
        address: SocketAddr::from(([10, 0, 0, index as u8], 8_000)),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    };
    PoolSpec { id, endpoints: (0..ENDPOINTS).map(endpoint).collect(), models: Arc::default() }
}

fn feedback(origin: u64, gauges: Vec<(signalbox_types::EndpointKey, Load)>) -> Feedback {
    Feedback { gauges, ..Feedback::new(Origin(origin), 1, GaugeScope::All) }
}

#[test]
fn pool_that_three_replicas_fill_is_full_for_each_of_them_without_an_owner() {
    let replica = Replica::beside(FULL_TOKENS).book(FULL_TOKENS);
    assert_eq!([1.0, 1.0], [0, OWNER_SILENCE_MS].map(|age_ms| replica.saturation(age_ms)));
    let modes = [FlowMode::Off, FlowMode::On];
    // The endpoint that was chosen looks idle: its wait is that of a view of a while ago.
    let of = |age_ms| modes.map(|mode| replica.admission(mode, age_ms));
    assert_eq!([Admission::Go, Admission::Go], of(OWNER_SILENCE_MS - 1));
    let [off, on] = of(OWNER_SILENCE_MS);
    assert_eq!(Admission::Shed, off);
    assert!(matches!(on, Admission::Wait { .. }), "{on:?}");
}

/// Each replica fills its share: a third of the pool.
#[test]
fn own_requests_count_once_for_each_replica_that_was_known() {
    let replica = Replica::beside(1).book(100);
    let share = replica.seen(OWNER_SILENCE_MS).share_saturation(&Detector::default());
    let share = share.expect("the pool has endpoints").value;
    assert!((replica.saturation(OWNER_SILENCE_MS) - share).abs() < 1e-12);
    // 100 tokens here and 2 of the others at each endpoint, while they count.
    let ratio = replica.saturation(OWNER_SILENCE_MS) / replica.saturation(0);
    assert!((ratio - 300.0 / 102.0).abs() < 1e-9, "{ratio}");
}

#[test]
fn requests_that_others_had_a_while_ago_fill_nothing() {
    let replica = Replica::beside(FULL_TOKENS);
    assert_eq!([1.0, 0.0], [0, OWNER_SILENCE_MS].map(|age_ms| replica.saturation(age_ms)));
    for mode in [FlowMode::Off, FlowMode::On] {
        assert_eq!(Admission::Go, replica.admission(mode, OWNER_SILENCE_MS));
    }
}
