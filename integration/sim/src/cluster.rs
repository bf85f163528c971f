//! Holds everything that the processes share: the network, the coordinator, the pods, the clocks and the
//! checker.

pub(crate) mod actor_queue;
pub(crate) mod coordinator;
pub(crate) mod event;
pub(crate) mod intake;
mod invented_epochs;
pub(crate) mod lane;
pub(crate) mod message;
pub(crate) mod network;
pub(crate) mod pods;
pub(crate) mod prompts;
pub(crate) mod queue;
pub(crate) mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rand::Rng;
use signalbox_state::{Frame, FromAggregator};

use crate::cluster::actor_queue::ActorQueue;
use crate::cluster::coordinator::{Coordinator, Reply, Request};
use crate::cluster::event::{Event, Timer};
use crate::cluster::intake::Intake;
use crate::cluster::message::{End, Payload, StreamKind};
use crate::cluster::network::Network;
use crate::cluster::pods::Pods;
use crate::cluster::queue::Queue;
use crate::cluster::work::Busy;
use crate::counters::{Counter, Counters};
use crate::invariants::Invariant;
use crate::plan::{FaultKind, Mode, Node, Plan, SlowNodes, Work};
use crate::step_checker::{ProcessId, StepChecker};

/// How many lines the trace keeps.
const TRACE_LINES: usize = 120;

/// How long a server may be unreachable before its clients close their streams, in microseconds.
const KEEPALIVE_TIMEOUT_US: u64 = 2_000_000;

/// How long after a fault placements may still be dropped, in microseconds: those that were sent before it ended.
const PLACEMENTS_SETTLE_US: u64 = 14_000_000;

/// Whether a run keeps a trace of its last events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// Keeps a readable line for each of the last events.
    On,
    /// Keeps nothing, which is much faster.
    Off,
}

/// A process's monotonic clock. It starts at an arbitrary time and drifts.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started_at_us: u64,
    offset_ms: u64,
    drift_ppm: i64,
}

impl Clock {
    fn now_ms(self, now_us: u64) -> u64 {
        let elapsed_us = (now_us - self.started_at_us) as i64;
        self.offset_ms + ((elapsed_us + elapsed_us * self.drift_ppm / 1_000_000) / 1_000) as u64
    }
}

/// One run of a process, from its start to its exit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessRun {
    pub(crate) number: u32,
    pub(crate) is_paused: bool,
    pub(crate) busy: Busy,
    clock: Clock,
}

/// Everything that the processes share.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) plan: Plan,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) coordinator: Coordinator,
    pub(crate) pods: Pods,
    pub(crate) checker: StepChecker,
    pub(crate) counters: Counters,
    /// The processes that are running.
    pub(crate) runs: BTreeMap<Node, ProcessRun>,
    /// What waits for each process.
    pub(crate) actor_queues: BTreeMap<Node, ActorQueue>,
    /// What the streams to each aggregator have brought.
    pub(crate) intakes: BTreeMap<Node, Intake>,
    /// The processes that freeze when they are sent the next snapshot.
    pub(crate) freezing: BTreeSet<Node>,
    runs_started: u32,
    /// The owners that a standby replaced although they were running, since the last check.
    pub(crate) running_owners_replaced: Vec<ProcessId>,
    /// When all has arrived that was sent before processes became slower or quicker, in milliseconds.
    pub(crate) work_settled_ms: u64,
    /// Whether replicas receive requests.
    pub(crate) accepts_requests: bool,
    trace: Option<VecDeque<String>>,
}

impl Cluster {
    pub(crate) fn new(plan: &Plan, tracing: Tracing) -> Self {
        Self {
            queue: Queue::new(plan.seed),
            network: Network::new(plan.mode, plan.links),
            coordinator: Coordinator::new(plan.lease_ttl_ms * 1_000),
            pods: Pods::new(plan.pods, plan.kv_tokens),
            checker: StepChecker::new(plan),
            counters: Counters::default(),
            runs: BTreeMap::new(),
            actor_queues: BTreeMap::new(),
            intakes: BTreeMap::new(),
            freezing: BTreeSet::new(),
            runs_started: 0,
            running_owners_replaced: Vec::new(),
            work_settled_ms: 0,
            accepts_requests: true,
            trace: (tracing == Tracing::On).then(VecDeque::new),
            plan: plan.clone(),
        }
    }

    /// Starts a run of a process and returns its number.
    pub(crate) fn start_run(&mut self, node: Node) -> u32 {
        self.runs_started += 1;
        let most = self.plan.drift_ppm;
        let drift_ppm = self.queue.rng.random_range(-most..=most);
        let offset_ms = if self.queue.rng.random() { 0 } else { self.queue.rng.random_range(0..1 << 30) };
        let clock = Clock { started_at_us: self.queue.now_us(), offset_ms, drift_ppm };
        let (number, busy) = (self.runs_started, Busy::default());
        self.runs.insert(node, ProcessRun { number, is_paused: false, busy, clock });
        self.runs_started
    }

    /// Returns the time on a process's clock, in milliseconds.
    pub(crate) fn now_ms(&self, node: Node) -> u64 {
        self.runs.get(&node).map_or(0, |run| run.clock.now_ms(self.queue.now_us()))
    }

    /// Returns for how long there has been no fault, besides those that are `ignored`, in microseconds. Healing counts
    /// as a fault, and so does a change of how long processes take.
    pub(crate) fn undisturbed_us(&self, ignored: impl Fn(&FaultKind) -> bool) -> u64 {
        let now_ms = self.queue.now_us() / 1_000;
        let faults = self.plan.faults.iter().filter(|fault| !ignored(&fault.kind));
        let ends_ms = faults.filter(|fault| fault.at_ms <= now_ms).map(|fault| fault.at_ms + fault.for_ms);
        let healed_ms = Some(self.plan.heals_at_ms).filter(|healed_ms| *healed_ms <= now_ms);
        let last_ms = ends_ms.chain(healed_ms).fold(self.work_settled_ms, u64::max);
        self.queue.now_us().saturating_sub(last_ms * 1_000)
    }

    /// Checks placements that a process has dropped because they were not acknowledged, or their chains not sent, in time.
    pub(crate) fn check_dropped_placements(&mut self, node: Node, dropped: usize) {
        let quiet_us = self.undisturbed_us(FaultKind::is_harmless_to_streams);
        if dropped > 0 && self.is_reliable() && quiet_us > PLACEMENTS_SETTLE_US {
            self.checker
                .fail(Invariant::PlacementsAreAcknowledged, || format!("{node} drops {dropped} placements"));
        }
    }

    /// Returns whether no message is lost, and no process is slow.
    pub(crate) fn is_reliable(&self) -> bool {
        let has_losses = self.plan.mode == Mode::Datagrams || self.plan.links.loss_ppm > 0;
        let Work { slow, part_us, .. } = self.plan.work;
        let is_slow = slow != SlowNodes::None || part_us > Work::quick().part_us;
        !self.accepts_requests || !(has_losses || is_slow)
    }

    /// Sets a timer for the current run of a process.
    pub(crate) fn set_timer(&mut self, node: Node, after_ms: u64, timer: Timer) {
        if let Some(run) = self.runs.get(&node) {
            let event = Event::Timer { node, run: run.number, timer };
            self.queue.schedule_after_us(after_ms * 1_000, event);
        }
    }

    /// Opens a stream between two processes; returns `None` when the server is down or unreachable.
    pub(crate) fn open(&mut self, kind: StreamKind, client: Node, server: Node) -> Option<u64> {
        let from = self.runs.get(&client)?.number;
        self.checker.check_attempt((client, from), kind, server);
        let to = self.runs.get(&server)?.number;
        self.network.open(&mut self.queue, kind, (client, from), (server, to))
    }

    pub(crate) fn send(&mut self, stream: u64, to: End, payload: Payload) {
        if let Payload::FromAggregator(FromAggregator::Frame(Frame::SnapshotBegin { .. })) = payload
            && let Some((node, run)) = self.network.stream(stream).map(|stream| stream.process_at(to))
            && self.freezing.remove(&node)
        {
            self.queue.schedule_after_us(0, Event::Freeze { node, run });
        }
        let after_us = self.prepare(stream, to, &payload);
        self.network.send(&mut self.queue, stream, to, after_us, payload);
    }

    pub(crate) fn close(&mut self, stream: u64, own: End) {
        self.network.close(&mut self.queue, stream, own);
    }

    /// Returns the streams opened by `node` whose server has not responded within the keep-alive timeout.
    pub(crate) fn unresponsive_streams(&mut self, node: Node) -> Vec<u64> {
        let Some(run) = self.runs.get(&node) else { return Vec::new() };
        let client = (node, run.number);
        let is_running = |(server, number): (Node, u32)| {
            self.runs.get(&server).is_some_and(|run| run.number == number && !run.is_paused)
        };
        self.network.unresponsive_streams(self.queue.now_us(), client, KEEPALIVE_TIMEOUT_US, is_running)
    }

    /// Sends a request from a process to the coordinator.
    pub(crate) fn ask_coordinator(&mut self, node: Node, request: Request) {
        if let Some(run) = self.runs.get(&node).filter(|_| self.network.is_open(node, Node::Coordinator)) {
            let delay_us = self.network.delay_us(&mut self.queue, node, Node::Coordinator);
            let event = Event::CoordinatorRequest { node, run: run.number, request };
            self.queue.schedule_after_us(delay_us, event);
        }
    }

    /// Lets the coordinator handle a request and send its reply.
    pub(crate) fn serve_coordinator_request(&mut self, node: Node, run: u32, request: Request) {
        if self.coordinator.is_down {
            return;
        }
        let before = self.coordinator.registry().revision;
        let reply = self.coordinator.serve(self.queue.now_us(), node, request);
        self.checker.record_genuine_epoch(self.coordinator.epoch());
        if let Some(reply) = reply
            && self.network.is_open(Node::Coordinator, node)
        {
            let delay_us = self.network.delay_us(&mut self.queue, Node::Coordinator, node);
            self.queue.schedule_after_us(delay_us, Event::CoordinatorReply { node, run, reply });
        }
        if self.coordinator.registry().revision != before {
            self.publish_registry();
        }
    }

    /// Records that a standby wants to replace the owner of `epoch`, which holds its lease.
    pub(crate) fn record_early_claim(&mut self, epoch: u64) {
        self.counters.increment(Counter::EarlyClaim);
        let is_running = |(owner, number): &ProcessId| {
            self.runs.get(owner).is_some_and(|run| run.number == *number && !run.is_paused)
        };
        let running = self.checker.owner_of(epoch).filter(is_running);
        self.running_owners_replaced.extend(running);
    }

    /// Sends the registry to all aggregators that the coordinator can reach.
    pub(crate) fn publish_registry(&mut self) {
        let registry = self.coordinator.registry();
        self.trace(|| format!("the coordinator publishes {registry:?}"));
        for at in 0..self.plan.aggregators {
            let node = Node::Aggregator(at);
            let Some(run) = self.runs.get(&node).map(|run| run.number) else { continue };
            if self.network.is_open(Node::Coordinator, node) {
                let delay_us = self.network.delay_us(&mut self.queue, Node::Coordinator, node);
                let reply = Reply::Registry(registry.clone());
                self.queue.schedule_after_us(delay_us, Event::CoordinatorReply { node, run, reply });
            }
        }
    }

    /// Announces the pool's pods to each aggregator, each with its own delay.
    pub(crate) fn announce_endpoints(&mut self) {
        for at in 0..self.plan.aggregators {
            let node = Node::Aggregator(at);
            if let Some(run) = self.runs.get(&node).map(|run| run.number) {
                let after_us = self.queue.rng.random_range(0..400_000);
                self.queue.schedule_after_us(after_us, Event::EndpointsChanged { node, run });
            }
        }
    }

    /// Adds a line to the trace, if the run keeps one.
    pub(crate) fn trace(&mut self, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        if trace.len() == TRACE_LINES {
            trace.pop_front();
        }
        trace.push_back(format!("{:>9.3} ms  {}", self.queue.now_us() as f64 / 1_000.0, line()));
    }

    /// Removes and returns the lines of the trace.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().map(Vec::from).unwrap_or_default()
    }
}
