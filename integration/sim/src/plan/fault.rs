//! Defines the faults of a plan and draws them at random.

use std::fmt;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::plan::{Node, Plan, pick};

/// The epochs that processes invent. The first one might be genuine.
const INVENTED_EPOCHS: [u64; 5] = [1 << 30, 1 << 50, 1 << 63, u64::MAX - 1, u64::MAX];

/// When an aggregator ends the streams of followers that it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Before its first message.
    AtOnce,
    /// After its first message.
    AfterMessage,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// SIGKILL, and an empty restart later. The connections of its peers are reset.
    Kill(Node),
    /// The machine is lost: like [`Self::Kill`], but no peer is notified.
    LoseMachine(Node),
    /// SIGSTOP, and SIGCONT later.
    Pause(Node),
    /// The actor of a process is stuck with one event. The process itself runs on, and answers pings.
    Stall(Node),
    /// The coordinator ends the lease of an aggregator that works.
    LoseLease(usize),
    /// SIGTERM to an aggregator, and an empty restart later.
    Drain(usize),
    /// No message gets from the first node to the second.
    Cut(Node, Node),
    /// No message gets from any of these nodes to any other node, or back.
    Partition(Vec<Node>),
    /// All streams of a process break at once.
    ResetStreams(Node),
    /// A process names an epoch that nobody has claimed, once on each of its streams.
    InventEpoch(Node, u64),
    /// Messages between the two nodes take this many milliseconds longer.
    SlowDown(Node, Node, u64),
    /// The coordinator is down. It keeps its state.
    CoordinatorDown,
    /// The coordinator returns to an older history. Only scenarios have it: an aggregator that restarts then, and hears no
    /// process that knows a later history, cannot tell that its epoch was used before.
    RewindCoordinator,
    /// A pod leaves the pool, and returns later.
    RemovePod(usize),
    /// A pod drains: it gets no new requests, leaves the pool when those that it has have ended, and returns later.
    DrainPod(usize),
    /// A model server restarts.
    RestartPod(usize),
    /// A pod answers all requests with errors.
    FailRequests(usize),
    /// The first replica sends feedback in the name of the second one.
    Impersonate(usize, usize),
    /// All model servers lose most of their KV cache while the feedback of the replicas that counts on it is on its way.
    LoseAnchors,
    /// A follower restarts, and reads nothing any more from the moment when it is sent a snapshot.
    Freeze(Node),
    /// A replica finds that its state differs from the owner's, whatever it is sent.
    Diverge(usize),
    /// A replica takes no more requests and exits after those that it has. It restarts later.
    GiveUp(usize),
    /// The actor of a collector that scrapes a pod crashes whenever it is started.
    CrashScraper(usize, usize),
    /// An aggregator breaks the streams of its followers, and refuses them again and again after it has opened them.
    RefuseFollowers(usize, Refusal),
    /// A replica sends batches of feedback without a pause, far more than may queue for the owner.
    Flood(usize),
}

impl FaultKind {
    /// Returns whether the fault leaves it as it is who owns the pool, and which messages reach the owner.
    pub(crate) fn is_harmless_to_streams(&self) -> bool {
        matches!(self, Self::FailRequests(_) | Self::LoseAnchors | Self::CrashScraper(..) | Self::GiveUp(_))
    }
}

/// A fault with its start and its duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it starts, in milliseconds from the start of the run.
    pub at_ms: u64,
    /// How long it lasts, in milliseconds.
    pub for_ms: u64,
    /// What goes wrong.
    pub kind: FaultKind,
}

impl Fault {
    /// Draws a fault for `plan` that ends before everything heals.
    pub(super) fn random(rng: &mut SmallRng, plan: &Plan) -> Self {
        let kind = FaultKind::random(rng, plan);
        let at_ms = rng.random_range(1_000..plan.heals_at_ms);
        let for_ms = *pick(rng, &[10, 300, 1_200, 2_500, 4_000, 10_000]);
        Self { at_ms, for_ms: for_ms.min(plan.heals_at_ms - at_ms), kind }
    }
}

impl FaultKind {
    fn random(rng: &mut SmallRng, plan: &Plan) -> Self {
        let processes = plan.nodes();
        let nodes: Vec<_> = processes.iter().copied().chain([Node::Coordinator]).collect();
        // Most failures involve the owner, and any aggregator may be the owner.
        let process = |rng: &mut SmallRng| {
            if rng.random_ratio(1, 2) {
                Node::Aggregator(rng.random_range(0..plan.aggregators))
            } else {
                *pick(rng, &processes)
            }
        };
        let node = |rng: &mut SmallRng| *pick(rng, &nodes);
        let replica = |rng: &mut SmallRng| rng.random_range(0..plan.replicas);
        match rng.random_range(0..141) {
            0..14 => Self::Kill(process(rng)),
            14..20 => Self::LoseMachine(process(rng)),
            20..28 => Self::Pause(process(rng)),
            28..34 => Self::Stall(process(rng)),
            34..42 => Self::Drain(rng.random_range(0..plan.aggregators)),
            42..46 => Self::LoseLease(rng.random_range(0..plan.aggregators)),
            46..56 => Self::Cut(process(rng), node(rng)),
            56..72 => {
                let mut isolated = vec![process(rng)];
                isolated.extend(nodes.iter().filter(|_| rng.random_ratio(1, 3)));
                isolated.sort_unstable();
                isolated.dedup();
                Self::Partition(isolated)
            }
            72..76 => Self::ResetStreams(process(rng)),
            76..80 => Self::InventEpoch(process(rng), *pick(rng, &INVENTED_EPOCHS)),
            80..83 => Self::SlowDown(process(rng), node(rng), rng.random_range(20..800)),
            83..89 => Self::CoordinatorDown,
            89..92 => Self::RemovePod(rng.random_range(0..plan.pods)),
            92..96 => Self::DrainPod(rng.random_range(0..plan.pods)),
            96..100 => Self::RestartPod(rng.random_range(0..plan.pods)),
            100..108 => Self::FailRequests(rng.random_range(0..plan.pods)),
            108..113 => Self::Impersonate(replica(rng), replica(rng)),
            113..117 => Self::LoseAnchors,
            117..121 => Self::Freeze(if rng.random() { process(rng) } else { Node::Replica(replica(rng)) }),
            121..124 => Self::Diverge(replica(rng)),
            124..128 => Self::GiveUp(replica(rng)),
            128..132 => {
                Self::CrashScraper(rng.random_range(0..plan.collectors), rng.random_range(0..plan.pods))
            }
            132..137 => Self::RefuseFollowers(
                rng.random_range(0..plan.aggregators),
                *pick(rng, &[Refusal::AtOnce, Refusal::AfterMessage]),
            ),
            _ => Self::Flood(replica(rng)),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, for_ms, kind } = self;
        write!(f, "{at_ms:>6} ms  ")?;
        match kind {
            FaultKind::Kill(node) => write!(f, "kill {node}, restart it after {for_ms} ms"),
            FaultKind::LoseMachine(node) => {
                write!(f, "lose the machine of {node}, restart it after {for_ms} ms")
            }
            FaultKind::Pause(node) => write!(f, "pause {node} for {for_ms} ms"),
            FaultKind::Stall(node) => write!(f, "the actor of {node} is stuck for {for_ms} ms"),
            FaultKind::LoseLease(at) => write!(f, "end the lease of aggregator-{at}"),
            FaultKind::Drain(at) => write!(f, "drain aggregator-{at}, restart it after {for_ms} ms"),
            FaultKind::Cut(from, to) => write!(f, "cut the link from {from} to {to} for {for_ms} ms"),
            FaultKind::Partition(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(Node::to_string).collect();
                write!(f, "isolate {} from the other nodes for {for_ms} ms", nodes.join(", "))
            }
            FaultKind::ResetStreams(node) => write!(f, "break all streams of {node}"),
            FaultKind::InventEpoch(node, epoch) => write!(f, "{node} invents epoch {epoch}"),
            FaultKind::SlowDown(a, b, by_ms) => {
                write!(f, "slow down the link between {a} and {b} by {by_ms} ms for {for_ms} ms")
            }
            FaultKind::CoordinatorDown => write!(f, "stop the coordinator for {for_ms} ms"),
            FaultKind::RewindCoordinator => write!(f, "return the coordinator to an older history"),
            FaultKind::RemovePod(at) => write!(f, "remove pod-{at} from the pool for {for_ms} ms"),
            FaultKind::DrainPod(at) => write!(f, "drain pod-{at}, return it to the pool after {for_ms} ms"),
            FaultKind::RestartPod(at) => write!(f, "restart pod-{at}"),
            FaultKind::FailRequests(at) => write!(f, "pod-{at} answers with errors for {for_ms} ms"),
            FaultKind::Impersonate(at, victim) => write!(f, "replica-{at} poses as replica-{victim}"),
            FaultKind::LoseAnchors => write!(f, "all pods lose most of their KV cache for {for_ms} ms"),
            FaultKind::Freeze(node) => {
                write!(
                    f,
                    "restart {node}, and freeze it with its next snapshot until {for_ms} ms have passed"
                )
            }
            FaultKind::Diverge(at) => write!(f, "the state of replica-{at} differs for {for_ms} ms"),
            FaultKind::GiveUp(at) => write!(f, "replica-{at} gives up, restart it after {for_ms} ms"),
            FaultKind::Flood(at) => write!(f, "replica-{at} floods the owner with feedback"),
            FaultKind::RefuseFollowers(at, refusal) => {
                write!(f, "aggregator-{at} refuses followers for {for_ms} ms: {refusal:?}")
            }
            FaultKind::CrashScraper(collector, pod) => {
                write!(f, "the scraper of pod-{pod} at collector-{collector} crashes for {for_ms} ms")
            }
        }
    }
}
