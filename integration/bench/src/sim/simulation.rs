//! The event loop of the simulation.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_event_queue::EventQueue;
use signalbox_modelsim::engine::{Effect, Input as PodInput};
use signalbox_state::{Feedback, GaugeScope, PoolInput, Update};
use signalbox_types::{EndpointKey, Origin};

use super::flow::Control;
use super::held::Held;
use super::owner::{Message, Owner};
use super::pods::{Pod, create_pods};
use super::replica::{Replica, RoutedRequest};
use super::scrapes::{SCRAPE_INTERVAL_US, Scraper};
use super::{RunConfig, ServedRequest};
use crate::policies::{PeerUpdate, Visibility};

/// Time of the first arrival; all model servers have been scraped by then.
pub(super) const FIRST_ARRIVAL_US: u64 = SCRAPE_INTERVAL_US * 2;

/// Delay before an event that found no owner is retried.
const RETRY_DELAY_US: u64 = 5_000;

/// Interval between two ticks of the owners.
const TICK_INTERVAL_US: u64 = 50_000;

/// Interval between two heartbeats of the owners.
const HEARTBEAT_INTERVAL_US: u64 = 100_000;

/// Interval at which replicas send all their gauges.
const FULL_FLUSH_INTERVAL_US: u64 = 500_000;

/// Transit times of messages.
#[derive(Clone, Copy)]
struct Delays {
    report_us: u64,
    feedback_us: u64,
    frames_us: u64,
}

/// Transit times between separate processes.
const SEPARATE_PROCESSES: Delays = Delays { report_us: 2_000, feedback_us: 1_000, frames_us: 1_500 };

/// Transit times within one process.
const SAME_PROCESS: Delays = Delays { report_us: 0, feedback_us: 0, frames_us: 0 };

pub(super) enum Event {
    Arrive(usize),
    PodWakeup(usize),
    /// The scraper with this number scrapes its pods.
    Scrape(usize),
    /// What was scraped at a time, in milliseconds, arrives at an owner.
    Report(usize, u64, Vec<(EndpointKey, Update)>),
    Flush(usize),
    FlushAll(usize),
    Feedback(usize, Feedback),
    Tick,
    Heartbeat,
    Deliver(usize, Message),
    /// The requests that wait at a replica are looked after, if the tick is still scheduled for this time.
    GateTick(usize, u64),
    /// An owner asked to be woken up to grant.
    GrantDue(usize),
    /// What a replica told arrives at another one.
    PeerUpdate(usize, PeerUpdate),
    /// Kills a process; the number is that of the kill.
    Kill(usize),
    /// Restarts the process of the kill with this number.
    Restart(usize),
}

pub(super) struct Simulation<'a> {
    pub(super) config: RunConfig<'a>,
    delays: Delays,
    pub(super) queue: EventQueue<Event>,
    pub(super) pods: Vec<Pod>,
    scrapers: Vec<Scraper>,
    pub(super) owners: Vec<Owner>,
    /// Whether the only owner was killed and no standby has taken over yet.
    pub(super) is_ownerless: bool,
    /// The replicas; `None` while one is down.
    pub(super) replicas: Vec<Option<Replica>>,
    /// The owner that each replica follows.
    pub(super) owner_of: Vec<usize>,
    /// For each live request, the replica that routed it and its booking.
    pub(super) routed: Vec<Option<(usize, RoutedRequest)>>,
    pub(super) served: Vec<ServedRequest>,
    pub(super) held: Held,
    /// When the next tick of each replica's gate is due.
    pub(super) gate_ticks: Vec<Option<u64>>,
    pub(super) finished: usize,
    pub(super) rng: SmallRng,
    pub(super) effects: Vec<Effect>,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(config: RunConfig<'a>) -> Self {
        let mut rng = SmallRng::seed_from_u64(config.seed);
        let (pods, spec) = create_pods(config.pods);
        let (delays, owner_of): (_, Vec<usize>) = match config.contender.visibility {
            Visibility::Pool => (SEPARATE_PROCESSES, vec![0; config.replicas]),
            Visibility::Own => (SAME_PROCESS, (0..config.replicas).collect()),
        };
        let mut owners = Vec::new();
        let mut replicas = Vec::new();
        for owner in 0..=owner_of.last().copied().unwrap_or(0) {
            let followers: Vec<usize> =
                (0..config.replicas).filter(|replica| owner_of[*replica] == owner).collect();
            let (new, snapshot) = Owner::new(spec.clone(), followers.iter().copied());
            owners.push(new);
            for _ in followers {
                let (origin, own) = (Origin(rng.random()), SmallRng::from_rng(&mut rng));
                let control = config.flow.map_or(&Control::None, |flow| flow.control);
                let algorithm = (&config.contender.algorithm, control, config.pods);
                replicas.push(Some(Replica::new(0, (origin, own), snapshot.clone(), algorithm)));
            }
        }
        let scrapers = Scraper::of(config.contender.visibility, owners.len(), pods.len(), &mut rng);
        let mut simulation = Self {
            config,
            delays,
            queue: EventQueue::default(),
            pods,
            scrapers,
            owners,
            is_ownerless: false,
            replicas,
            owner_of,
            routed: config.requests.iter().map(|_| None).collect(),
            served: vec![ServedRequest::default(); config.requests.len()],
            held: Held::new(config.requests.len(), config.pods.len()),
            gate_ticks: vec![None; config.replicas],
            finished: 0,
            rng,
            effects: Vec::new(),
        };
        simulation.schedule_initial_events();
        simulation
    }

    fn schedule_initial_events(&mut self) {
        if self.config.contender.algorithm.reads_metrics() {
            for (number, scraper) in self.scrapers.iter().enumerate() {
                self.queue.push(scraper.phase_us, Event::Scrape(number));
            }
        }
        for replica in 0..self.replicas.len() {
            self.queue.push(replica as u64, Event::FlushAll(replica));
        }
        self.queue.push(TICK_INTERVAL_US, Event::Tick);
        self.queue.push(HEARTBEAT_INTERVAL_US, Event::Heartbeat);
        if !self.config.requests.is_empty() {
            self.queue.push(self.arrives_us(0), Event::Arrive(0));
        }
        for (number, kill) in self.config.kills.iter().enumerate() {
            self.queue.push(FIRST_ARRIVAL_US + kill.at_us, Event::Kill(number));
        }
    }

    /// Returns the arrival time of a request.
    pub(super) fn arrives_us(&self, request: usize) -> u64 {
        FIRST_ARRIVAL_US + (self.config.requests[request].at_us as f64 / self.config.speed) as u64
    }

    /// Returns whether all requests are served.
    pub(super) fn is_served(&self) -> bool {
        self.finished == self.config.requests.len()
    }

    pub(super) fn handle(&mut self, now_us: u64, event: Event) {
        let now_ms = now_us / 1_000;
        match event {
            Event::Kill(number) => self.kill(now_us, number),
            Event::Restart(number) => self.restart(now_us, number),
            Event::Arrive(request) => self.arrive(now_us, request),
            Event::PodWakeup(pod) => self.step(now_us, pod, PodInput::Tick),
            Event::Feedback(..) | Event::GrantDue(_) if self.is_ownerless => {}
            Event::GateTick(replica, at_us) => self.gate_tick_due(now_us, replica, at_us),
            Event::GrantDue(owner) => {
                self.owners[owner].fold(now_ms, PoolInput::GrantDue);
                self.publish_from(now_us, owner);
            }
            Event::Report(..) | Event::Flush(_) if self.is_ownerless => {
                self.queue.push(now_us + RETRY_DELAY_US, event);
            }
            Event::Scrape(number) => self.scrape(now_us, number),
            Event::Report(owner, read_at_ms, updates) => {
                self.owners[owner].report(now_ms, now_ms - read_at_ms, updates);
                self.publish_from(now_us, owner);
            }
            Event::PeerUpdate(replica, update) => {
                self.replicas[replica].iter_mut().for_each(|replica| replica.apply_update(&update));
            }
            Event::Flush(replica) => {
                self.send_feedback(now_us, replica, GaugeScope::Changed);
            }
            Event::FlushAll(replica) => {
                if !self.is_ownerless {
                    self.send_feedback(now_us, replica, GaugeScope::All);
                }
                self.queue.push(now_us + FULL_FLUSH_INTERVAL_US, Event::FlushAll(replica));
            }
            Event::Feedback(owner, feedback) => self.receive_feedback(now_us, owner, feedback),
            Event::Tick => {
                if !self.is_ownerless {
                    self.owners.iter_mut().for_each(|owner| owner.tick(now_ms));
                    self.publish(now_us);
                }
                self.queue.push(now_us + TICK_INTERVAL_US, Event::Tick);
            }
            Event::Heartbeat => {
                let (queue, at_us) = (&mut self.queue, now_us + self.delays.frames_us);
                for owner in self.owners.iter().filter(|_| !self.is_ownerless) {
                    owner.send_heartbeats(now_ms, |to, message| {
                        queue.push(at_us, Event::Deliver(to, message))
                    });
                }
                self.queue.push(now_us + HEARTBEAT_INTERVAL_US, Event::Heartbeat);
            }
            Event::Deliver(replica, message) => {
                let Some(receiver) = &mut self.replicas[replica] else { return };
                match message {
                    Message::Frames(frames) => {
                        let granted = receiver.apply_frames(now_ms, frames);
                        self.release(now_us, replica, granted);
                    }
                    Message::NeedChain(number) => {
                        receiver.need_chain(number);
                        self.schedule_flush(now_us, replica);
                    }
                }
            }
        }
    }

    fn scrape(&mut self, now_us: u64, number: usize) {
        let scraper = &mut self.scrapers[number];
        if !self.is_ownerless {
            let updates = scraper.scrape(now_us / 1_000, &self.pods);
            if !updates.is_empty() {
                let event = Event::Report(scraper.owner, now_us / 1_000, updates);
                self.queue.push(now_us + self.delays.report_us, event);
            }
        }
        self.queue.push(now_us + SCRAPE_INTERVAL_US, Event::Scrape(number));
    }

    pub(super) fn schedule_flush(&mut self, now_us: u64, replica: usize) {
        if let Some(at_us) =
            self.replicas[replica].as_mut().and_then(|replica| replica.schedule_flush(now_us))
        {
            self.queue.push(at_us, Event::Flush(replica));
        }
    }

    pub(super) fn send_feedback(&mut self, now_us: u64, replica: usize, scope: GaugeScope) {
        let owner = self.owner_of[replica];
        let Some(feedback) =
            self.replicas[replica].as_mut().and_then(|sender| sender.feedback(now_us, scope))
        else {
            return;
        };
        self.queue.push(now_us + self.delays.feedback_us, Event::Feedback(owner, feedback));
    }

    fn receive_feedback(&mut self, now_us: u64, owner: usize, feedback: Feedback) {
        let chains = self.owners[owner].fold(now_us / 1_000, PoolInput::Feedback(feedback));
        for (origin, number) in chains {
            let is_addressed =
                |replica: &Option<Replica>| replica.as_ref().is_some_and(|one| one.origin() == origin);
            // The replica may have been killed since.
            let Some(receiver) = self.replicas.iter().position(is_addressed) else { continue };
            let event = Event::Deliver(receiver, Message::NeedChain(number));
            self.queue.push(now_us + self.delays.frames_us, event);
        }
        self.publish_from(now_us, owner);
    }

    pub(super) fn publish(&mut self, now_us: u64) {
        (0..self.owners.len()).for_each(|owner| self.publish_from(now_us, owner));
    }

    fn publish_from(&mut self, now_us: u64, owner: usize) {
        for after_ms in self.owners[owner].take_wakes() {
            self.queue.push(now_us + after_ms * 1_000, Event::GrantDue(owner));
        }
        let (queue, at_us) = (&mut self.queue, now_us + self.delays.frames_us);
        self.owners[owner].publish(|to, message| queue.push(at_us, Event::Deliver(to, message)));
    }
}
