//! A pool and a replica in virtual time, with engines that are equally fast. The first endpoint answers as a
//! script says.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use signalbox_schedule::{Decision, FeedbackSink, OwnState, Pick, Policy};
use signalbox_state::{
    Booking, Bookings, CatchUp, CollectorStream, Feedback, FrameSource, GaugeScope, Overlay, PeerLoad,
    PlacedPrompt, Pool, PoolConfig, PoolEffect, PoolInput, RecentAdapterSends, RecentProbes, Report,
    ResponseOutcome, ResponseReport, ResponseTracker, ScrapeStatus, ServedDurations, StateReplica,
    UnservedBooking, Update, UsageReport, View,
};
use signalbox_types::{
    EndpointKey, EndpointSpec, Engine, Incarnation, MetricsTls, ModelKey, Origin, PoolId, PoolSpec, Request,
};

const COLLECTOR: CollectorStream = CollectorStream(1);
const ORIGIN: Origin = Origin(1);
const MODEL: &str = "m";
const PROMPT_TOKENS: u64 = 2_000;

/// Time that every engine needs for a prompt: 2,000 tokens at 8,000 per second.
const PREFILL_US: u64 = 250_000;

/// Time that every engine needs for an output.
const DECODE_US: u64 = 400_000;

const TICK_US: u64 = 50_000;

/// When an answer begins, relative to the time at which the engine has processed the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delay {
    AtOnce,
    Half,
    Whole,
    Double,
}

impl Delay {
    fn of(self, true_us: u64) -> u64 {
        match self {
            Self::AtOnce => 1_000,
            Self::Half => true_us / 2,
            Self::Whole => true_us,
            Self::Double => true_us * 2,
        }
    }
}

/// What an engine tells of its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Usage,
    NoCachedTokens,
    Nothing,
    /// Far more tokens than the prompt has.
    ManyTokens,
}

/// How an endpoint answers one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its first output comes after the delay, its end when it is done.
    Output(Delay, Told),
    Status(u16, Delay),
    /// A successful response whose first event is an error.
    ErrorEvent(Option<u16>, Delay),
    /// A successful streamed response that ends without output.
    EmptyStream(Delay),
}

enum Event {
    Arrive,
    Tick,
    FirstOutput(usize),
    End(usize),
    UnservedPrefill(usize),
    UnservedEnd(usize),
}

struct InFlight {
    endpoint: EndpointKey,
    answer: Answer,
    tracker: ResponseTracker,
    booking: Option<Booking>,
    unserved: Option<UnservedBooking>,
    at_us: u64,
    first_output_us: u64,
    expected: (u64, u64),
    is_sole: bool,
}

/// The probes that a pick reports. The prompts have no blocks, and there are no adapters.
#[derive(Default)]
struct Probes(Vec<ResponseReport>);

impl FeedbackSink for Probes {
    fn queue_placement(&mut self, placed: PlacedPrompt) -> Result<(), PlacedPrompt> {
        panic!("there is nothing to place: {placed:?}")
    }

    fn report_response(&mut self, report: ResponseReport) {
        self.0.push(report);
    }

    fn report_adapter_use(&mut self, _endpoint: EndpointKey, adapter: &Arc<str>) {
        panic!("there is no adapter {adapter}")
    }
}

/// The pool, the replica and the engines.
pub(crate) struct Fleet {
    pool: Pool,
    replica: StateReplica,
    view: View,
    bookings: Bookings,
    overlay: Overlay,
    adapter_sends: RecentAdapterSends,
    probes: RecentProbes,
    durations: ServedDurations,
    interval_us: u64,
    script: Vec<Answer>,
    scripted: usize,
    /// When each engine has processed the prompts that it has.
    free_us: Vec<u64>,
    requests: Vec<InFlight>,
    picked: Vec<usize>,
    events: BinaryHeap<Reverse<(u64, usize)>>,
    queued: Vec<Option<Event>>,
    now_us: u64,
    seq: u64,
    rng: SmallRng,
}

impl Fleet {
    /// Creates a pool of `endpoints` that gets a request every `interval_ms`. The endpoint at position 0 answers
    /// as `script` says, over and over.
    pub(crate) fn new(endpoints: usize, interval_ms: u64, script: Vec<Answer>) -> Self {
        let mut pool = Pool::new(1, PoolConfig::default());
        let spec = |at: usize| EndpointSpec {
            name: format!("pod-{at}"),
            address: format!("10.0.0.{}:8000", at + 1).parse().unwrap(),
            metrics_url: String::new(),
            engine: Engine::Vllm,
            labels: Default::default(),
            is_draining: false,
            metrics_tls: MetricsTls::Verified,
        };
        let id = PoolId { namespace: "default".to_owned(), name: "p".to_owned() };
        let endpoints: Vec<_> = (0..endpoints).map(spec).collect();
        let free_us = vec![0; endpoints.len()];
        let spec = PoolSpec { id, endpoints, models: Arc::default() };
        pool.handle(0, PoolInput::Spec(spec.into()));
        for effect in pool.handle(0, PoolInput::CollectorJoined(COLLECTOR, "collector".to_owned())) {
            let PoolEffect::Assign(_, assigned) = effect else { continue };
            let update = Update { scrape_status: ScrapeStatus::Fresh, ..Update::default() };
            let report =
                |(endpoint, generation)| Report { endpoint, generation, age_ms: 0, update: update.clone() };
            let reports = assigned.into_iter().map(|one| report((one.endpoint, one.generation)));
            pool.handle(0, PoolInput::Reports(COLLECTOR, reports.collect()));
        }
        let mut fleet = Self {
            pool,
            replica: StateReplica::default(),
            view: View::default(),
            bookings: Bookings::new(Arc::new(|| {})),
            overlay: Overlay::default(),
            adapter_sends: RecentAdapterSends::default(),
            probes: RecentProbes::default(),
            durations: ServedDurations::default(),
            interval_us: interval_ms * 1_000,
            script,
            scripted: 0,
            free_us,
            requests: Vec::new(),
            picked: Vec::new(),
            events: BinaryHeap::new(),
            queued: Vec::new(),
            now_us: 0,
            seq: 0,
            rng: SmallRng::seed_from_u64(1),
        };
        // The ramps of the endpoints are over when requests arrive.
        fleet.at(11_000_000, Event::Arrive);
        fleet.at(TICK_US, Event::Tick);
        fleet.catch_up();
        fleet
    }

    /// Serves this number of requests and returns the positions of the endpoints that were picked for them.
    pub(crate) fn serve(mut self, requests: usize) -> Vec<usize> {
        while self.picked.len() < requests {
            let Reverse((at_us, number)) = self.events.pop().unwrap();
            self.now_us = at_us;
            match self.queued[number].take().unwrap() {
                Event::Arrive => self.arrive(),
                Event::Tick => {
                    self.pool.handle(at_us / 1_000, PoolInput::Reports(COLLECTOR, Vec::new()));
                    self.pool.handle(at_us / 1_000, PoolInput::Tick);
                    self.feed(Vec::new(), Vec::new());
                    self.at(at_us + TICK_US, Event::Tick);
                }
                Event::FirstOutput(request) => self.first_output(request),
                Event::End(request) => self.end(request),
                Event::UnservedPrefill(request) => {
                    self.requests[request].unserved.iter_mut().for_each(UnservedBooking::end_prefill);
                }
                Event::UnservedEnd(request) => self.requests[request].unserved = None,
            }
        }
        self.picked
    }

    fn at(&mut self, at_us: u64, event: Event) {
        self.events.push(Reverse((at_us, self.queued.len())));
        self.queued.push(Some(event));
    }

    fn arrive(&mut self) {
        self.at(self.now_us + self.interval_us, Event::Arrive);
        let now_ms = self.now_us / 1_000;
        let own = OwnState {
            origin: ORIGIN,
            bookings: &self.bookings,
            overlay: &self.overlay,
            adapter_sends: &self.adapter_sends,
            probes: &self.probes,
        };
        let (policy, mut probes) = (Policy::default(), Probes::default());
        let pick = Pick { view: &self.view, policy: &policy, own, now_ms };
        let request = Request { model: MODEL.to_owned(), prompt_tokens: PROMPT_TOKENS, ..Request::default() };
        let mut inputs = pick.look_up(request, &[], PeerLoad::Current);
        let (decision, _) = pick.choose(&mut inputs, 0, &mut self.rng, &mut probes);
        let Decision::Picked { position, terms } = decision else { panic!("there are endpoints") };
        self.picked.push(position);
        let booked = pick.book(&inputs, (position, &terms), Vec::new(), &mut probes);
        let answer = match position {
            0 => {
                self.scripted += 1;
                self.script[(self.scripted - 1) % self.script.len()]
            }
            _ => Answer::Output(Delay::Whole, Told::Usage),
        };
        self.requests.push(InFlight {
            endpoint: booked.usage.endpoint,
            answer,
            tracker: ResponseTracker::default(),
            booking: Some(booked.booking),
            unserved: None,
            at_us: self.now_us,
            first_output_us: 0,
            expected: (terms.prefill_done_us(), terms.expected_duration_us()),
            is_sole: booked.is_sole_prefill,
        });
        self.answer(self.requests.len() - 1, position, answer);
        self.feed(probes.0, Vec::new());
    }

    fn answer(&mut self, request: usize, position: usize, answer: Answer) {
        let start_us = self.free_us[position].max(self.now_us);
        let true_us = start_us + PREFILL_US - self.now_us;
        match answer {
            Answer::Output(delay, _) => {
                self.free_us[position] = start_us + PREFILL_US;
                let first_us = delay.of(true_us);
                self.at(self.now_us + first_us, Event::FirstOutput(request));
                self.at(self.now_us + first_us.max(true_us) + DECODE_US, Event::End(request));
            }
            Answer::Status(_, delay) | Answer::ErrorEvent(_, delay) | Answer::EmptyStream(delay) => {
                self.at(self.now_us + delay.of(true_us), Event::End(request));
            }
        }
    }

    fn first_output(&mut self, request: usize) {
        let in_flight = &mut self.requests[request];
        in_flight.first_output_us = self.now_us - in_flight.at_us;
        in_flight.tracker.record_status(200);
        let outcome = in_flight.tracker.record_output();
        let endpoint = in_flight.endpoint;
        in_flight.booking.iter_mut().for_each(|booking| booking.record_first_output(self.now_us / 1_000));
        self.report(endpoint, outcome);
    }

    fn end(&mut self, request: usize) {
        let in_flight = &mut self.requests[request];
        let outcome = match in_flight.answer {
            Answer::Output(..) => None,
            Answer::Status(status, _) => in_flight.tracker.record_status(status),
            Answer::ErrorEvent(status, _) => in_flight.tracker.record_error(status),
            Answer::EmptyStream(_) => in_flight.tracker.record_end_of_stream(),
        };
        let (endpoint, at_us, booking) = (in_flight.endpoint, in_flight.at_us, in_flight.booking.take());
        if !in_flight.tracker.is_unserved() {
            drop(booking);
            self.durations.record(self.now_us - at_us);
            let usage = usage(&self.requests[request]);
            return self.feed(Vec::new(), vec![usage]);
        }
        in_flight.unserved = booking.map(Booking::into_unserved);
        let (prefill_us, duration_us) = in_flight.expected;
        let until_us = self.durations.unserved_us(duration_us);
        self.at((at_us + prefill_us).max(self.now_us), Event::UnservedPrefill(request));
        self.at((at_us + until_us).max(self.now_us), Event::UnservedEnd(request));
        self.report(endpoint, outcome);
    }

    fn report(&mut self, endpoint: EndpointKey, outcome: Option<ResponseOutcome>) {
        let report = |outcome| ResponseReport { endpoint, model: ModelKey::of(MODEL), outcome };
        self.feed(outcome.map(report).into_iter().collect(), Vec::new());
    }

    /// Sends feedback to the owner and applies what it publishes.
    fn feed(&mut self, responses: Vec<ResponseReport>, usage: Vec<UsageReport>) {
        self.seq += 1;
        let feedback = Feedback {
            epoch: 1,
            gauges: self.bookings.loads(),
            responses,
            usage,
            ..Feedback::new(ORIGIN, self.seq, GaugeScope::All)
        };
        self.pool.handle(self.now_us / 1_000, PoolInput::Feedback(feedback));
        self.catch_up();
    }

    fn catch_up(&mut self) {
        let owner = FrameSource::Aggregator(0);
        self.replica.record_time(self.now_us / 1_000);
        loop {
            match self.pool.journal().since(self.replica.cursor().unwrap_or_default()) {
                CatchUp::Frame(frame) => drop(self.replica.apply(owner, frame)),
                CatchUp::Snapshot => {
                    Arc::new(self.pool.snapshot())
                        .frames()
                        .for_each(|frame| drop(self.replica.apply(owner, frame)));
                }
                CatchUp::Current | CatchUp::Deposed(_) => break,
            }
        }
        self.view = View::next(&self.view, &self.replica, &self.bookings);
    }
}

fn usage(request: &InFlight) -> UsageReport {
    let Answer::Output(_, told) = request.answer else { panic!("there is no usage without output") };
    let (prompt_tokens, cached_tokens) = match told {
        Told::Usage => (Some(PROMPT_TOKENS), Some(0)),
        Told::NoCachedTokens => (Some(PROMPT_TOKENS), None),
        Told::Nothing => (None, None),
        Told::ManyTokens => (Some(PROMPT_TOKENS * 50), Some(0)),
    };
    UsageReport {
        predicted_tokens: PROMPT_TOKENS,
        prompt_tokens,
        cached_tokens,
        sole_prefill_us: request.is_sole.then_some(request.first_output_us),
        ..UsageReport::new(request.endpoint, Incarnation::default(), ModelKey::of(MODEL))
    }
}
