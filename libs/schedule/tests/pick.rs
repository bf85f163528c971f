//! Properties of the path from a request to its booking.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{Booked, Decision, FeedbackSink, OwnState, Pick, Policy, decide};
use signalbox_state::{
    Bookings, Circuit, Feedback, FrameSource, GaugeScope, Overlay, PeerLoad, PlacedPrompt, Pool, PoolConfig,
    PoolInput, RecentAdapterSends, RecentProbes, ResponseOutcome, ResponseReport, StateReplica, View,
};
use signalbox_types::{
    BlockHash, EndpointKey, EndpointSpec, Engine, Load, MetricsTls, ModelKey, Origin, PoolId, PoolSpec,
    PromptSize, Request,
};

const MODEL: &str = "m";
const ORIGIN: Origin = Origin(1);

/// When a circuit that opened at the start becomes half-open, in milliseconds.
const HALF_OPEN_MS: u64 = 1_000;

/// A replica, and what its picks told the owner.
struct Replica {
    view: View,
    bookings: Bookings,
    overlay: Overlay,
    adapter_sends: RecentAdapterSends,
    probes: RecentProbes,
    policy: Policy,
    told: Arc<Mutex<Vec<Told>>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    /// A placement, with the sum of the bookings and the number of placements in the overlay at that time.
    Placement(PlacedPrompt, Load, usize),
    Response(ResponseReport),
    Adapter(EndpointKey, Arc<str>),
    Announced,
}

/// Tells the owner of a replica's picks, as long as there is room.
struct Sink<'a>(&'a Replica, bool);

impl FeedbackSink for Sink<'_> {
    fn queue_placement(&mut self, placed: PlacedPrompt) -> Result<(), PlacedPrompt> {
        let Self(replica, has_room) = *self;
        if !has_room {
            return Err(placed);
        }
        let told = Told::Placement(placed, replica.load(), replica.overlay.len());
        replica.told.lock().unwrap().push(told);
        Ok(())
    }

    fn report_response(&mut self, report: ResponseReport) {
        self.0.told.lock().unwrap().push(Told::Response(report));
    }

    fn report_adapter_use(&mut self, endpoint: EndpointKey, adapter: &Arc<str>) {
        self.0.told.lock().unwrap().push(Told::Adapter(endpoint, Arc::clone(adapter)));
    }
}

fn spec(index: u8) -> EndpointSpec {
    let address = SocketAddr::from(([10, 0, 0, index], 8_000));
    EndpointSpec {
        name: format!("pod-{index}"),
        address,
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    }
}

/// Returns the first feedback of an origin, which has a load at the second endpoint.
fn feedback(origin: Origin, responses: Vec<ResponseReport>) -> PoolInput {
    let load = Load { requests: 9, prefills: 9, prefill_tokens: 90_000 };
    let gauges = vec![(spec(1).key(), load)];
    PoolInput::Feedback(Feedback {
        epoch: 1,
        gauges,
        responses,
        ..Feedback::new(origin, 1, GaugeScope::Changed)
    })
}

/// Returns a replica of a pool of `endpoints`.
fn replica(endpoints: u8) -> Replica {
    replica_of(&pool(endpoints))
}

fn pool(endpoints: u8) -> Pool {
    let mut pool = Pool::new(1, PoolConfig::default());
    let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
    let spec = PoolSpec { id, endpoints: (0..endpoints).map(spec).collect(), models: Arc::default() };
    pool.handle(0, PoolInput::Spec(Arc::new(spec)));
    pool
}

/// Returns a replica of a pool of two endpoints that is to probe the first one. Another replica keeps the second one so
/// busy that a request would go to the first.
fn prober() -> Replica {
    let mut pool = pool(2);
    let (endpoint, outcome) = (spec(0).key(), ResponseOutcome::Failed);
    let failure = ResponseReport { endpoint, model: ModelKey::of(MODEL), outcome };
    pool.handle(0, feedback(ORIGIN, vec![failure; 5]));
    pool.handle(0, feedback(Origin(2), Vec::new()));
    pool.handle(HALF_OPEN_MS, PoolInput::Tick);
    let replica = replica_of(&pool);
    let circuit = replica.view.endpoints.get(spec(0).key()).unwrap().assessment.circuit;
    assert_eq!(Circuit::HalfOpen(Some(ORIGIN)), circuit);
    replica
}

fn replica_of(pool: &Pool) -> Replica {
    let mut state = StateReplica::default();
    let frames = Arc::new(pool.snapshot()).frames();
    frames.for_each(|frame| drop(state.apply(FrameSource::Aggregator(0), frame)));
    let told = Arc::new(Mutex::new(Vec::new()));
    let announced = Arc::clone(&told);
    let bookings = Bookings::new(Arc::new(move || announced.lock().unwrap().push(Told::Announced)));
    Replica {
        view: View::next(&View::default(), &state, &bookings),
        bookings,
        overlay: Overlay::default(),
        adapter_sends: RecentAdapterSends::default(),
        probes: RecentProbes::default(),
        policy: Policy::default(),
        told,
    }
}

fn request(chain: &[BlockHash]) -> Request {
    let prompt = PromptSize { text_bytes: chain.len() as u64 * 256, ..PromptSize::default() };
    Request { model: MODEL.to_owned(), prompt, ..Request::default() }
}

fn chain(family: u64, blocks: u64) -> Vec<BlockHash> {
    (1..=blocks).map(|at| BlockHash(family << 32 | at)).collect()
}

impl Replica {
    fn pick(&self) -> Pick<'_> {
        let Self { bookings, overlay, adapter_sends, probes, .. } = self;
        let own = OwnState { origin: ORIGIN, bookings, overlay, adapter_sends, probes };
        Pick { view: &self.view, policy: &self.policy, own, now_ms: HALF_OPEN_MS }
    }

    /// Picks an endpoint for a prompt and books the request there; returns its position, too.
    fn send(&self, chain: &[BlockHash], has_room: bool) -> (usize, Booked) {
        let (pick, mut sink) = (self.pick(), Sink(self, has_room));
        let mut inputs = pick.look_up(request(chain), chain, PeerLoad::Current);
        let (decision, _) = pick.choose(&mut inputs, 0, &mut SmallRng::seed_from_u64(1), &mut sink);
        let Decision::Picked { position, terms } = decision else { panic!("there are endpoints") };
        (position, pick.book(&inputs, (position, &terms), chain.to_vec(), &mut sink))
    }

    fn load(&self) -> Load {
        self.bookings.loads().into_iter().fold(Load::ZERO, |sum, (_, load)| sum + load)
    }

    fn told(&self) -> Vec<Told> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

#[test]
fn booking_precedes_the_placement_and_is_announced_after_it() {
    let replica = replica(3);
    let chain = chain(1, 20);
    let (position, booked) = replica.send(&chain, true);
    let endpoint = replica.view.endpoints[position].key;
    let placed = PlacedPrompt {
        endpoint,
        incarnation: Default::default(),
        chain: Arc::clone(&booked.chain),
        known: 0,
        held: 0,
    };
    let load = Load { requests: 1, prefills: 1, prefill_tokens: booked.usage.predicted_tokens };
    assert_eq!(vec![Told::Placement(placed, load, 1), Told::Announced], replica.told());
    assert!(booked.is_placed && booked.is_sole_prefill);
    assert_eq!((endpoint, chain[19]), (booked.usage.endpoint, booked.usage.last_block));
    drop(booked);
    assert_eq!((Load::ZERO, vec![Told::Announced]), (replica.load(), replica.told()));
}

#[test]
fn placement_without_room_is_dropped_and_the_booking_stays() {
    let replica = replica(1);
    let (_, booked) = replica.send(&chain(1, 20), false);
    assert!(!booked.is_placed && replica.overlay.is_empty());
    assert_eq!((20, 1), (booked.chain.len(), replica.load().requests));
    assert_eq!(vec![Told::Announced], replica.told());
}

#[test]
fn request_without_blocks_is_not_placed() {
    let replica = replica(1);
    let (_, booked) = replica.send(&[], true);
    assert!(!booked.is_placed && booked.chain.is_empty());
    assert_eq!((BlockHash::ROOT, vec![Told::Announced]), (booked.usage.last_block, replica.told()));
}

#[test]
fn adapter_is_remembered_and_reported() {
    let mut replica = replica(2);
    let adapter: Arc<str> = MODEL.into();
    replica.view.adapters = Arc::new(BTreeSet::from([Arc::clone(&adapter)]));
    let (_, booked) = replica.send(&[], true);
    let endpoint = booked.usage.endpoint;
    assert_eq!(vec![Told::Adapter(endpoint, adapter), Told::Announced], replica.told());
    let next = replica.pick().look_up(request(&[]), &[], PeerLoad::Current);
    assert_eq!([endpoint], next.local.adapter_sent_to[..]);
}

#[test]
fn one_of_many_requests_at_once_is_the_probe() {
    let replica = prober();
    std::thread::scope(|scope| {
        (0..8).for_each(|_| drop(scope.spawn(|| (0..20).for_each(|_| drop(replica.send(&[], true))))));
    });
    let is_response = |told: &&Told| matches!(told, Told::Response(_));
    let told = replica.told();
    let probe = ResponseReport {
        endpoint: spec(0).key(),
        model: ModelKey::of(MODEL),
        outcome: ResponseOutcome::ProbeSent,
    };
    assert_eq!(vec![&Told::Response(probe)], told.iter().filter(is_response).collect::<Vec<_>>());
}

#[test]
fn request_that_loses_the_probe_is_decided_again_and_can_be_replayed() {
    let replica = prober();
    let (pick, rng) = (replica.pick(), SmallRng::seed_from_u64(7));
    let mut inputs = pick.look_up(request(&[]), &[], PeerLoad::Current);
    assert!(replica.probes.claim(HALF_OPEN_MS, spec(0).key()), "another request does");
    let (decision, _) = pick.choose(&mut inputs, 0, &mut rng.clone(), &mut Sink(&replica, true));
    let Decision::Picked { position, .. } = decision else { panic!("there are endpoints") };
    assert_eq!(spec(1).key(), replica.view.endpoints[position].key);
    assert_eq!([spec(0).key()], inputs.local.probed[..]);
    assert!(replica.told().is_empty());
    let replayed = decide(&inputs.of_decision(&replica.view), &replica.policy, &mut rng.clone());
    assert_eq!(decision, replayed);
}

proptest! {
    #[test]
    fn requests_are_booked_and_found_as_they_were_decided(
        prompts in prop::collection::vec((0_u64..3, 1_u64..40), 1..30),
        endpoints in 1_u8..5,
    ) {
        let replica = replica(endpoints);
        let (mut sent, mut booked_tokens) = (Vec::new(), 0);
        for (family, blocks) in prompts {
            let chain = chain(family, blocks);
            let before = replica.pick().look_up(request(&chain), &chain, PeerLoad::Current);
            let (position, booked) = replica.send(&chain, true);
            prop_assert_eq!(before.matches.blocks[position], booked.usage.held_blocks as usize);
            let idle = before.local.load_at(position).prefills == 0;
            prop_assert_eq!(idle, booked.is_sole_prefill);
            booked_tokens += booked.usage.predicted_tokens - booked.usage.predicted_cached_tokens;
            sent.push(booked);
            let count = sent.len() as u32;
            let load = Load { requests: count, prefills: count, prefill_tokens: booked_tokens };
            prop_assert_eq!(load, replica.load());
            let after = replica.pick().look_up(request(&chain), &chain, PeerLoad::Current);
            prop_assert_eq!((chain.len(), chain.len()), (after.matches.blocks[position], after.known_blocks));
        }
        drop(sent);
        prop_assert_eq!(Load::ZERO, replica.load());
    }
}
