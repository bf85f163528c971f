//! What all processes share: the network, the coordinator, the pods, and whoever watches over them.

use std::collections::{BTreeMap, VecDeque};

use rand::Rng;

use crate::checks::Checker;
use crate::coordinator::{Coordinator, Request};
use crate::counters::Counters;
use crate::network::{End, Kind, Network, Payload};
use crate::plan::{Node, Plan};
use crate::pods::Pods;
use crate::queue::{Event, Queue, Timer};

/// Lines of the trace that are kept.
const TRACE_LINES: usize = 120;

/// Whether the last events are kept in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// The last events are kept in words.
    On,
    /// They are not, which is much faster.
    Off,
}

/// A process's clock, which nobody sets.
#[derive(Clone, Copy, Debug)]
struct Clock {
    began_us: u64,
    at_first_ms: u64,
    drift_ppm: i64,
}

impl Clock {
    fn now_ms(self, now_us: u64) -> u64 {
        let passed_us = (now_us - self.began_us) as i64;
        self.at_first_ms + ((passed_us + passed_us * self.drift_ppm / 1_000_000) / 1_000) as u64
    }
}

/// One life of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) number: u32,
    pub(crate) is_paused: bool,
    clock: Clock,
}

/// What all processes share.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) plan: Plan,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) coordinator: Coordinator,
    pub(crate) pods: Pods,
    pub(crate) checker: Checker,
    pub(crate) counters: Counters,
    /// Those that live.
    pub(crate) lives: BTreeMap<Node, Life>,
    born: u32,
    /// Whether replicas take requests.
    pub(crate) is_open: bool,
    trace: Option<VecDeque<String>>,
}

impl Site {
    pub(crate) fn new(plan: &Plan, tracing: Tracing) -> Self {
        Self {
            queue: Queue::new(plan.seed),
            network: Network::new(plan.mode, plan.links),
            coordinator: Coordinator::default(),
            pods: Pods::new(plan.pods, plan.kv_tokens),
            checker: Checker::new(plan),
            counters: Counters::default(),
            lives: BTreeMap::new(),
            born: 0,
            is_open: true,
            trace: (tracing == Tracing::On).then(VecDeque::new),
            plan: plan.clone(),
        }
    }

    /// A process begins; says the number of its life.
    pub(crate) fn begin(&mut self, node: Node) -> u32 {
        self.born += 1;
        let most = self.plan.drift_ppm;
        let drift_ppm = self.queue.dice.random_range(-most..=most);
        let at_first_ms = if self.queue.dice.random() { 0 } else { self.queue.dice.random_range(0..1 << 30) };
        let clock = Clock { began_us: self.queue.now_us(), at_first_ms, drift_ppm };
        self.lives.insert(node, Life { number: self.born, is_paused: false, clock });
        self.born
    }

    /// What a process's clock shows.
    pub(crate) fn now_ms(&self, node: Node) -> u64 {
        self.lives.get(&node).map_or(0, |life| life.clock.now_ms(self.queue.now_us()))
    }

    /// A process sets its clock.
    pub(crate) fn timer(&mut self, node: Node, after_ms: u64, timer: Timer) {
        if let Some(life) = self.lives.get(&node) {
            let event = Event::Timer { node, life: life.number, timer };
            self.queue.after_us(after_ms * 1_000, event);
        }
    }

    /// A process opens a stream to another; `None` when that cannot be reached.
    pub(crate) fn open(&mut self, kind: Kind, client: Node, server: Node) -> Option<u64> {
        let (from, to) = (self.lives.get(&client)?.number, self.lives.get(&server)?.number);
        self.network.open(&mut self.queue, kind, (client, from), (server, to))
    }

    pub(crate) fn send(&mut self, stream: u64, to: End, payload: Payload) {
        self.network.send(&mut self.queue, stream, to, payload);
    }

    pub(crate) fn close(&mut self, stream: u64, own: End) {
        self.network.close(&mut self.queue, stream, own);
    }

    /// Streams of `node` on which nothing has been heard for two seconds.
    pub(crate) fn out_of_contact(&mut self, node: Node) -> Vec<u64> {
        let Some(life) = self.lives.get(&node) else { return Vec::new() };
        let client = (node, life.number);
        let is_running = |(server, number): (Node, u32)| {
            self.lives.get(&server).is_some_and(|life| life.number == number && !life.is_paused)
        };
        self.network.out_of_contact(self.queue.now_us(), client, 2_000_000, is_running)
    }

    /// A process asks the coordinator.
    pub(crate) fn ask(&mut self, node: Node, request: Request) {
        if let Some(life) = self.lives.get(&node).filter(|_| self.network.is_open(node, Node::Coordinator)) {
            let delay_us = self.network.delay_us(&mut self.queue, node, Node::Coordinator);
            self.queue.after_us(delay_us, Event::Asked { node, life: life.number, request });
        }
    }

    /// The coordinator does what is asked of it.
    pub(crate) fn asked(&mut self, node: Node, life: u32, request: Request) {
        if self.coordinator.is_away {
            return;
        }
        let before = self.coordinator.notice().revision;
        let answer = self.coordinator.serve(self.queue.now_us(), node, request);
        if let Some(answer) = answer
            && self.network.is_open(Node::Coordinator, node)
        {
            let delay_us = self.network.delay_us(&mut self.queue, Node::Coordinator, node);
            self.queue.after_us(delay_us, Event::Answered { node, life, answer });
        }
        if self.coordinator.notice().revision != before {
            self.notice_all();
        }
    }

    /// All aggregators that the coordinator reaches are told what changed.
    pub(crate) fn notice_all(&mut self) {
        let notice = self.coordinator.notice();
        self.note(|| format!("the coordinator: {notice:?}"));
        for at in 0..self.plan.aggregators {
            let node = Node::Aggregator(at);
            let Some(life) = self.lives.get(&node).map(|life| life.number) else { continue };
            if self.network.is_open(Node::Coordinator, node) {
                let delay_us = self.network.delay_us(&mut self.queue, Node::Coordinator, node);
                let answer = crate::coordinator::Answer::Noticed(notice.clone());
                self.queue.after_us(delay_us, Event::Answered { node, life, answer });
            }
        }
    }

    /// Each aggregator learns of the pods that there are, in its own time.
    pub(crate) fn respecify(&mut self) {
        for at in 0..self.plan.aggregators {
            let node = Node::Aggregator(at);
            if let Some(life) = self.lives.get(&node).map(|life| life.number) {
                let after_us = self.queue.dice.random_range(0..400_000);
                self.queue.after_us(after_us, Event::Specified { node, life });
            }
        }
    }

    /// Writes a line of the trace, where there is one.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() == TRACE_LINES {
            trace.pop_front();
        }
        trace.push_back(format!("{:>9.3} ms  {}", self.queue.now_us() as f64 / 1_000.0, line()));
    }

    /// The last lines of the trace.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().map(Vec::from).unwrap_or_default()
    }
}
