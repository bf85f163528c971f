//! A pool in virtual time: simulated model servers, collectors, the owner of the state and the replicas. Seeded, so that a run can be
//! had again; on one thread.

mod fleet;
mod owner;
mod queue;
mod replica;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::engine::{Arrival, Effect, Input as PodInput};
use signalbox_state::{Feedback, Input, Scope, Update};
use signalbox_types::{BlockHash, Load, Origin};

use crate::policy::{Contender, Sight};
pub(crate) use fleet::pool_spec;
use fleet::{Pod, fleet};
use owner::{Message, Owner};
use queue::Queue;
use replica::{Replica, Sent};

/// Model servers are read so often.
const SCRAPE_US: u64 = 50_000;

/// Owners are told so often that time passes.
const TICK_US: u64 = 50_000;

/// Owners give a sign of life so often.
const BEAT_US: u64 = 100_000;

/// Replicas tell all their gauges so often.
const WHOLE_US: u64 = 500_000;

/// After the last answer everything that is on its way arrives within this time.
const SETTLE_US: u64 = 50_000;

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

/// A prompt, ready to be hashed no more.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// As the index knows it.
    pub(crate) chain: Arc<[BlockHash]>,
    /// As the model server knows it.
    pub(crate) blocks: Arc<[u64]>,
    pub(crate) tokens: u32,
}

/// A request that will come.
#[derive(Clone, Debug)]
pub(crate) struct Coming {
    pub(crate) at_us: u64,
    pub(crate) prompt: Prompt,
    pub(crate) output_tokens: u32,
}

/// A run.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    /// In order of time.
    pub(crate) requests: &'a [Coming],
    /// The workload is replayed so many times as fast.
    pub(crate) speed: f64,
    pub(crate) pods: &'a [ModelConfig],
    pub(crate) contender: &'a Contender,
    pub(crate) replicas: usize,
    pub(crate) seed: u64,
}

/// A request that was served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// From its arrival to its first token.
    pub(crate) ttft_us: u64,
    /// From its arrival to its last token.
    pub(crate) whole_us: u64,
    pub(crate) cached_tokens: u32,
    pub(crate) pod: usize,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// In the order of the requests.
    pub(crate) served: Vec<Served>,
    /// Tokens computed by each model server: uncached ones of prompts, and those of answers.
    pub(crate) work_tokens: Vec<u64>,
    /// From the first arrival to the last.
    pub(crate) window_us: u64,
    /// From the last arrival to the last first token.
    pub(crate) drain_us: u64,
    /// Work that is still booked after the end, by the replicas and in the owners' eyes.
    pub(crate) left: Load,
    pub(crate) finished: usize,
}

enum Event {
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
}

struct World<'a> {
    setup: Setup<'a>,
    delays: Delays,
    queue: Queue<Event>,
    pods: Vec<Pod>,
    owners: Vec<Owner>,
    replicas: Vec<Replica>,
    /// Which owner each replica follows.
    owner_of: Vec<usize>,
    /// Which replica each request came to, and what became of it there.
    sent: Vec<Option<(usize, Sent)>>,
    served: Vec<Served>,
    finished: usize,
    rng: SmallRng,
    effects: Vec<Effect>,
}

/// Runs a workload to its end.
pub(crate) fn run(setup: Setup<'_>) -> Ran {
    let mut world = World::new(setup);
    let mut ends_us = u64::MAX;
    while let Some((now_us, event)) = world.queue.take() {
        if now_us > ends_us {
            break;
        }
        world.handle(now_us, event);
        if ends_us == u64::MAX && world.finished == setup.requests.len() {
            ends_us = now_us + SETTLE_US;
        }
    }
    world.ran()
}

impl<'a> World<'a> {
    fn new(setup: Setup<'a>) -> Self {
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
                replicas.push(Replica::new(origin, own, snapshot.clone()));
            }
        }
        let mut world = Self {
            setup,
            delays,
            queue: Queue::new(),
            pods,
            owners,
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
        // The model servers have been read once when the first request comes.
        if !self.setup.requests.is_empty() {
            self.queue.put(self.arrives_us(0), Event::Arrive(0));
        }
    }

    fn arrives_us(&self, request: usize) -> u64 {
        SCRAPE_US * 2 + (self.setup.requests[request].at_us as f64 / self.setup.speed) as u64
    }

    fn handle(&mut self, now_us: u64, event: Event) {
        let now_ms = now_us / 1_000;
        match event {
            Event::Arrive(request) => self.arrive(now_us, request),
            Event::Wake(pod) => self.step(now_us, pod, PodInput::Tick),
            Event::Scrape(pod) => {
                if let Some(update) = self.pods[pod].read(now_ms) {
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
                if let Some(feedback) = self.replicas[replica].flush(now_us) {
                    self.tell(now_us, replica, feedback);
                }
            }
            Event::Whole(replica) => {
                let feedback = self.replicas[replica].feedback(Scope::Whole);
                self.tell(now_us, replica, feedback);
                self.queue.put(now_us + WHOLE_US, Event::Whole(replica));
            }
            Event::Feedback(owner, feedback) => self.hear(now_us, owner, feedback),
            Event::Tick => {
                self.owners.iter_mut().for_each(|owner| owner.tick(now_ms));
                self.publish(now_us);
                self.queue.put(now_us + TICK_US, Event::Tick);
            }
            Event::Beat => {
                let (queue, at_us) = (&mut self.queue, now_us + self.delays.frames_us);
                for owner in &self.owners {
                    owner.beat(now_ms, |to, message| queue.put(at_us, Event::Told(to, message)));
                }
                self.queue.put(now_us + BEAT_US, Event::Beat);
            }
            Event::Told(replica, Message::Frames(frames)) => self.replicas[replica].take(now_ms, frames),
            Event::Told(replica, Message::NeedChain(number)) => {
                self.replicas[replica].need_chain(number);
                self.ring(now_us, replica);
            }
        }
    }

    fn arrive(&mut self, now_us: u64, request: usize) {
        let coming = &self.setup.requests[request];
        let replica = self.rng.random_range(0..self.replicas.len());
        let sent = self.replicas[replica].pick(now_us, &coming.prompt, &self.setup.contender.chooser);
        let arrival = Arrival {
            id: request as u64,
            chain: Arc::clone(&coming.prompt.blocks),
            adapter: None,
            prompt_tokens: coming.prompt.tokens,
            max_output_tokens: Some(coming.output_tokens),
        };
        let pod = sent.position;
        self.served[request].pod = pod;
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
                if let Some((replica, sent)) = &mut self.sent[request] {
                    self.replicas[*replica].first_chunk(now_us, sent);
                    let replica = *replica;
                    self.ring(now_us, replica);
                }
            }
            Effect::Finished { id, usage, at_us } => {
                self.finished += 1;
                let request = *id as usize;
                self.served[request].whole_us = at_us - self.arrives_us(request);
                if let Some((replica, sent)) = self.sent[request].take() {
                    let computed = usage.prompt_tokens - usage.cached_tokens + usage.output_tokens;
                    self.pods[sent.position].work_tokens += u64::from(computed);
                    drop(sent);
                    self.ring(now_us, replica);
                }
            }
            Effect::Rejected { id, reason } => panic!("request {id} does not fit: {reason}"),
        }
    }

    fn ring(&mut self, now_us: u64, replica: usize) {
        if let Some(at_us) = self.replicas[replica].ring(now_us) {
            self.queue.put(at_us, Event::Flush(replica));
        }
    }

    fn tell(&mut self, now_us: u64, replica: usize, feedback: Feedback) {
        let owner = self.owner_of[replica];
        self.queue.put(now_us + self.delays.feedback_us, Event::Feedback(owner, feedback));
    }

    fn hear(&mut self, now_us: u64, owner: usize, feedback: Feedback) {
        let chains = self.owners[owner].fold(now_us / 1_000, Input::Feedback(feedback));
        for (origin, number) in chains {
            let asked = self.replicas.iter().position(|replica| replica.origin() == origin);
            let asked = asked.expect("only those who spoke are asked");
            let event = Event::Told(asked, Message::NeedChain(number));
            self.queue.put(now_us + self.delays.frames_us, event);
        }
        self.publish(now_us);
    }

    fn publish(&mut self, now_us: u64) {
        let (queue, at_us) = (&mut self.queue, now_us + self.delays.frames_us);
        for owner in &mut self.owners {
            owner.publish(|to, message| queue.put(at_us, Event::Told(to, message)));
        }
    }

    fn ran(self) -> Ran {
        let arrivals = (0..self.served.len()).map(|request| self.arrives_us(request));
        let (first_us, last_us) =
            (arrivals.clone().next().unwrap_or(0), arrivals.clone().next_back().unwrap_or(0));
        let began = arrivals.zip(&self.served).map(|(at_us, served)| at_us + served.ttft_us);
        let last_began_us = began.max().unwrap_or(0);
        let left = self.replicas.iter().fold(Load::ZERO, |sum, replica| sum + replica.load());
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
