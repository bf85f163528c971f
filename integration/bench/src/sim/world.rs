//! What happens in a pool, in order of time.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::engine::{Arrival, Effect, Input as PodInput};
use signalbox_state::{Feedback, GaugeScope, PoolInput, Update};
use signalbox_types::{Load, Origin};

use super::fleet::{Pod, fleet};
use super::owner::{Message, Owner};
use super::queue::Queue;
use super::replica::{Replica, Sent};
use super::{Ran, Served, Setup};
use crate::policy::Sight;

/// Model servers are read so often.
const SCRAPE_US: u64 = 50_000;

/// The model servers have been read before the first request comes.
const FIRST_ARRIVAL_US: u64 = SCRAPE_US * 2;

/// What finds no owner is tried again after so long.
const AGAIN_US: u64 = 5_000;

/// Owners are told so often that time passes.
const TICK_US: u64 = 50_000;

/// Owners give a sign of life so often.
const BEAT_US: u64 = 100_000;

/// Replicas tell all their gauges so often.
const WHOLE_US: u64 = 500_000;

/// How long what is told is on its way.
#[derive(Clone, Copy)]
struct Delays {
    report_us: u64,
    feedback_us: u64,
    frames_us: u64,
}

/// Between processes.
const APART: Delays = Delays { report_us: 2_000, feedback_us: 1_000, frames_us: 1_500 };

/// Within one process.
const TOGETHER: Delays = Delays { report_us: 0, feedback_us: 0, frames_us: 0 };

pub(super) enum Event {
    Arrive(usize),
    Wake(usize),
    Scrape(usize),
    Report(usize, u64, Update),
    Flush(usize),
    Whole(usize),
    Feedback(usize, Feedback),
    Tick,
    Beat,
    Told(usize, Message),
    /// A process is killed, by the number of the blow.
    Kill(usize),
    /// And it is there again.
    Back(usize),
}

pub(super) struct World<'a> {
    pub(super) setup: Setup<'a>,
    delays: Delays,
    pub(super) queue: Queue<Event>,
    pods: Vec<Pod>,
    pub(super) owners: Vec<Owner>,
    /// Whether the only owner is dead, and nobody has taken over.
    pub(super) is_ownerless: bool,
    /// Those that live.
    pub(super) replicas: Vec<Option<Replica>>,
    /// Which owner each replica follows.
    pub(super) owner_of: Vec<usize>,
    /// Which replica each request came to, and what became of it there.
    pub(super) sent: Vec<Option<(usize, Sent)>>,
    served: Vec<Served>,
    finished: usize,
    pub(super) rng: SmallRng,
    effects: Vec<Effect>,
}

impl<'a> World<'a> {
    pub(super) fn new(setup: Setup<'a>) -> Self {
        let mut rng = SmallRng::seed_from_u64(setup.seed);
        let (pods, spec) = fleet(setup.pods);
        let (delays, owner_of): (_, Vec<usize>) = match setup.contender.sight {
            Sight::Pool => (APART, vec![0; setup.replicas]),
            Sight::Own => (TOGETHER, (0..setup.replicas).collect()),
        };
        let mut owners = Vec::new();
        let mut replicas = Vec::new();
        for owner in 0..=owner_of.last().copied().unwrap_or(0) {
            let followers: Vec<usize> =
                (0..setup.replicas).filter(|replica| owner_of[*replica] == owner).collect();
            let (new, snapshot) = Owner::new(spec.clone(), followers.iter().copied());
            owners.push(new);
            for _ in followers {
                let (origin, own) = (Origin(rng.random()), SmallRng::from_rng(&mut rng));
                replicas.push(Some(Replica::new(0, origin, own, snapshot.clone())));
            }
        }
        let mut world = Self {
            setup,
            delays,
            queue: Queue::new(),
            pods,
            owners,
            is_ownerless: false,
            replicas,
            owner_of,
            sent: setup.requests.iter().map(|_| None).collect(),
            served: vec![Served::default(); setup.requests.len()],
            finished: 0,
            rng,
            effects: Vec::new(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let pods = self.pods.len() as u64;
        for pod in 0..self.pods.len() {
            self.queue.put(pod as u64 * SCRAPE_US / pods, Event::Scrape(pod));
        }
        for replica in 0..self.replicas.len() {
            self.queue.put(replica as u64, Event::Whole(replica));
        }
        self.queue.put(TICK_US, Event::Tick);
        self.queue.put(BEAT_US, Event::Beat);
        if !self.setup.requests.is_empty() {
            self.queue.put(self.arrives_us(0), Event::Arrive(0));
        }
        for (number, blow) in self.setup.blows.iter().enumerate() {
            self.queue.put(FIRST_ARRIVAL_US + blow.at_us, Event::Kill(number));
        }
    }

    fn arrives_us(&self, request: usize) -> u64 {
        FIRST_ARRIVAL_US + (self.setup.requests[request].at_us as f64 / self.setup.speed) as u64
    }

    /// Whether all requests are served.
    pub(super) fn is_served(&self) -> bool {
        self.finished == self.setup.requests.len()
    }

    pub(super) fn handle(&mut self, now_us: u64, event: Event) {
        let now_ms = now_us / 1_000;
        match event {
            Event::Kill(number) => self.kill(now_us, number),
            Event::Back(number) => self.come_back(now_us, number),
            Event::Arrive(request) => self.arrive(now_us, request),
            Event::Wake(pod) => self.step(now_us, pod, PodInput::Tick),
            Event::Feedback(..) if self.is_ownerless => {}
            Event::Report(..) | Event::Flush(_) if self.is_ownerless => {
                self.queue.put(now_us + AGAIN_US, event);
            }
            Event::Scrape(pod) => {
                if !self.is_ownerless
                    && let Some(update) = self.pods[pod].read(now_ms)
                {
                    self.queue.put(now_us + self.delays.report_us, Event::Report(pod, now_ms, update));
                }
                self.queue.put(now_us + SCRAPE_US, Event::Scrape(pod));
            }
            Event::Report(pod, read_at_ms, update) => {
                let (key, age_ms) = (self.pods[pod].key, now_ms - read_at_ms);
                self.owners.iter_mut().for_each(|owner| owner.report(now_ms, key, age_ms, update.clone()));
                self.publish(now_us);
            }
            Event::Flush(replica) => {
                self.tell(now_us, replica, GaugeScope::Changed);
            }
            Event::Whole(replica) => {
                if !self.is_ownerless {
                    self.tell(now_us, replica, GaugeScope::Whole);
                }
                self.queue.put(now_us + WHOLE_US, Event::Whole(replica));
            }
            Event::Feedback(owner, feedback) => self.hear(now_us, owner, feedback),
            Event::Tick => {
                if !self.is_ownerless {
                    self.owners.iter_mut().for_each(|owner| owner.tick(now_ms));
                    self.publish(now_us);
                }
                self.queue.put(now_us + TICK_US, Event::Tick);
            }
            Event::Beat => {
                let (queue, at_us) = (&mut self.queue, now_us + self.delays.frames_us);
                for owner in self.owners.iter().filter(|_| !self.is_ownerless) {
                    owner.beat(now_ms, |to, message| queue.put(at_us, Event::Told(to, message)));
                }
                self.queue.put(now_us + BEAT_US, Event::Beat);
            }
            Event::Told(replica, message) => {
                let Some(told) = &mut self.replicas[replica] else { return };
                match message {
                    Message::Frames(frames) => told.take(now_ms, frames),
                    Message::NeedChain(number) => {
                        told.need_chain(number);
                        self.ring(now_us, replica);
                    }
                }
            }
        }
    }

    fn arrive(&mut self, now_us: u64, request: usize) {
        let coming = &self.setup.requests[request];
        let living = self.replicas.iter().flatten().count();
        let nth = self.rng.random_range(0..living);
        let mut all = self.replicas.iter_mut().enumerate();
        let mut living = all.by_ref().filter_map(|(at, replica)| Some((at, replica.as_mut()?)));
        let (replica, picking) = living.nth(nth).expect("one of those that live");
        let sent = picking.pick(now_us, &coming.prompt, &self.setup.contender.chooser);
        let arrival = Arrival {
            id: request as u64,
            chain: Arc::clone(&coming.prompt.blocks),
            adapter: None,
            prompt_tokens: coming.prompt.tokens,
            max_output_tokens: Some(coming.output_tokens),
        };
        let pod = sent.position;
        self.served[request].pod = pod;
        self.served[request].at_us = now_us - FIRST_ARRIVAL_US;
        self.sent[request] = Some((replica, sent));
        self.ring(now_us, replica);
        self.step(now_us, pod, PodInput::Arrive(arrival));
        if request + 1 < self.setup.requests.len() {
            self.queue.put(self.arrives_us(request + 1).max(now_us), Event::Arrive(request + 1));
        }
    }

    fn step(&mut self, now_us: u64, pod: usize, input: PodInput) {
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(wakes_us) = self.pods[pod].step(now_us, input, &mut effects) {
            self.queue.put(wakes_us, Event::Wake(pod));
        }
        for effect in effects.drain(..) {
            self.answered(now_us, &effect);
        }
        self.effects = effects;
    }

    fn answered(&mut self, now_us: u64, effect: &Effect) {
        match effect {
            Effect::Token { .. } => {}
            Effect::FirstToken { id, at_us, cached_tokens } => {
                let request = *id as usize;
                let arrived_us = self.arrives_us(request);
                let served = &mut self.served[request];
                (served.ttft_us, served.cached_tokens) = (at_us - arrived_us, *cached_tokens);
                if let Some((through, sent)) = &mut self.sent[request] {
                    let through = *through;
                    self.replicas[through].iter_mut().for_each(|replica| replica.first_chunk(now_us, sent));
                    self.ring(now_us, through);
                }
            }
            Effect::Finished { id, usage, at_us } => {
                self.finished += 1;
                let request = *id as usize;
                self.served[request].whole_us = at_us - self.arrives_us(request);
                let computed = usage.prompt_tokens - usage.cached_tokens + usage.output_tokens;
                self.pods[self.served[request].pod].work_tokens += u64::from(computed);
                if let Some((replica, sent)) = self.sent[request].take() {
                    drop(sent);
                    self.ring(now_us, replica);
                }
            }
            Effect::Rejected { id, reason } => panic!("request {id} does not fit: {reason}"),
        }
    }

    fn ring(&mut self, now_us: u64, replica: usize) {
        if let Some(at_us) = self.replicas[replica].as_mut().and_then(|replica| replica.ring(now_us)) {
            self.queue.put(at_us, Event::Flush(replica));
        }
    }

    pub(super) fn tell(&mut self, now_us: u64, replica: usize, scope: GaugeScope) {
        let owner = self.owner_of[replica];
        let Some(feedback) = self.replicas[replica].as_mut().and_then(|told| told.feedback(now_us, scope))
        else {
            return;
        };
        self.queue.put(now_us + self.delays.feedback_us, Event::Feedback(owner, feedback));
    }

    fn hear(&mut self, now_us: u64, owner: usize, feedback: Feedback) {
        let chains = self.owners[owner].fold(now_us / 1_000, PoolInput::Feedback(feedback));
        for (origin, number) in chains {
            let is_asked =
                |replica: &Option<Replica>| replica.as_ref().is_some_and(|one| one.origin() == origin);
            // It may be dead by now.
            let Some(asked) = self.replicas.iter().position(is_asked) else { continue };
            let event = Event::Told(asked, Message::NeedChain(number));
            self.queue.put(now_us + self.delays.frames_us, event);
        }
        self.publish(now_us);
    }

    pub(super) fn publish(&mut self, now_us: u64) {
        let (queue, at_us) = (&mut self.queue, now_us + self.delays.frames_us);
        for owner in &mut self.owners {
            owner.publish(|to, message| queue.put(at_us, Event::Told(to, message)));
        }
    }

    pub(super) fn ran(self) -> Ran {
        let arrivals = (0..self.served.len()).map(|request| self.arrives_us(request));
        let (first_us, last_us) =
            (arrivals.clone().next().unwrap_or(0), arrivals.clone().next_back().unwrap_or(0));
        let began = arrivals.zip(&self.served).map(|(at_us, served)| at_us + served.ttft_us);
        let last_began_us = began.max().unwrap_or(0);
        let left = self.replicas.iter().flatten().fold(Load::ZERO, |sum, replica| sum + replica.load());
        let left = self.owners.iter().fold(left, |sum, owner| sum + owner.load());
        Ran {
            work_tokens: self.pods.iter().map(|pod| pod.work_tokens).collect(),
            window_us: last_us - first_us,
            drain_us: last_began_us.saturating_sub(last_us),
            left,
            finished: self.finished,
            served: self.served,
        }
    }
}
