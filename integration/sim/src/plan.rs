//! What a seed stands for: how many processes, what the links are like, and what goes wrong when.

use std::fmt;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As gRPC carries them: in order and once, until the stream breaks.
    Streams,
    /// Harsher than any network that is used: messages of a stream are lost, repeated and overtake each other.
    Datagrams,
}

/// One who sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// The coordinator.
    Coordinator,
    /// An aggregator.
    Aggregator(usize),
    /// An EPP replica.
    Replica(usize),
    /// A collector.
    Collector(usize),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => write!(f, "the coordinator"),
            Self::Aggregator(at) => write!(f, "aggregator-{at}"),
            Self::Replica(at) => write!(f, "replica-{at}"),
            Self::Collector(at) => write!(f, "collector-{at}"),
        }
    }
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL, and a start from nothing later. Its peers' connections are reset.
    Kill(Node),
    /// The machine is lost: as [`Self::Kill`], but nobody is told.
    Lose(Node),
    /// SIGSTOP, and SIGCONT later.
    Pause(Node),
    /// SIGTERM to an aggregator, and a start from nothing later.
    Drain(usize),
    /// Nothing gets from the first to the second.
    Cut(Node, Node),
    /// Nothing gets from any of these to any other process, or back.
    Split(Vec<Node>),
    /// All streams of a process break at once.
    Reset(Node),
    /// What travels between these takes so many milliseconds more.
    Slow(Node, Node, u64),
    /// The coordinator is away, and remembers all when it is back.
    CoordinatorAway,
    /// A pod leaves the pool, and comes back.
    PodOut(usize),
    /// A model server is started anew.
    PodReborn(usize),
}

/// Something goes wrong, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When, in milliseconds from the beginning.
    pub at_ms: u64,
    /// For how long.
    pub for_ms: u64,
    /// What.
    pub blow: Blow,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, for_ms, blow } = self;
        write!(f, "{at_ms:>6} ms  ")?;
        match blow {
            Blow::Kill(node) => write!(f, "kill {node}, start it anew after {for_ms} ms"),
            Blow::Lose(node) => write!(f, "lose the machine of {node}, start it anew after {for_ms} ms"),
            Blow::Pause(node) => write!(f, "pause {node} for {for_ms} ms"),
            Blow::Drain(at) => write!(f, "drain aggregator-{at}, start it anew after {for_ms} ms"),
            Blow::Cut(from, to) => write!(f, "cut the way from {from} to {to} for {for_ms} ms"),
            Blow::Split(nodes) => {
                let nodes: Vec<_> = nodes.iter().map(Node::to_string).collect();
                write!(f, "cut {} off from the others for {for_ms} ms", nodes.join(", "))
            }
            Blow::Reset(node) => write!(f, "break all streams of {node}"),
            Blow::Slow(a, b, by_ms) => write!(f, "slow {a} and {b} by {by_ms} ms for {for_ms} ms"),
            Blow::CoordinatorAway => write!(f, "stop the coordinator for {for_ms} ms"),
            Blow::PodOut(at) => write!(f, "take pod-{at} out of the pool for {for_ms} ms"),
            Blow::PodReborn(at) => write!(f, "start pod-{at} anew"),
        }
    }
}

/// What the links between processes are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// The shortest way of a message, in microseconds.
    pub delay_us: u64,
    /// What may come on top of it.
    pub jitter_us: u64,
    /// Of a million messages so many are lost; a stream breaks with the message.
    pub lost_ppm: u32,
    /// Of a million datagrams so many come twice.
    pub repeated_ppm: u32,
}

/// All that a run is made of. Two runs by the same plan are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it is made from, and what all dice of the run are thrown by.
    pub seed: u64,
    /// How messages travel.
    pub mode: Mode,
    /// How many aggregators.
    pub aggregators: usize,
    /// How many EPP replicas.
    pub replicas: usize,
    /// How many collectors.
    pub collectors: usize,
    /// How many pods.
    pub pods: usize,
    /// What the links are like.
    pub links: Links,
    /// How much history an aggregator keeps.
    pub journal_bytes: usize,
    /// After so long an owner leaves the pool to the aggregator that comes first.
    pub give_back_after_ms: u64,
    /// How many tokens a model server's KV cache holds.
    pub kv_tokens: u64,
    /// Mean time between two requests at a replica.
    pub request_every_ms: u64,
    /// Clocks go wrong by at most so many parts in a million.
    pub drift_ppm: i64,
    /// When the last fault is over and everything heals.
    pub heals_at_ms: u64,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Tokens of a KV cache in which everything has room.
pub(crate) const PLENTY_OF_TOKENS: u64 = 1 << 30;

impl Plan {
    /// What `seed` stands for.
    pub fn of(seed: u64) -> Self {
        let dice = &mut SmallRng::seed_from_u64(seed);
        let mut plan = Self::calm(seed);
        plan.mode = if dice.random_ratio(1, 5) { Mode::Datagrams } else { Mode::Streams };
        plan.aggregators = dice.random_range(1..=4);
        plan.replicas = dice.random_range(1..=4);
        plan.collectors = dice.random_range(1..=3);
        plan.pods = dice.random_range(1..=6);
        plan.links = Links {
            delay_us: *pick(dice, &[50, 200, 1_000, 5_000]),
            jitter_us: *pick(dice, &[50, 500, 5_000, 30_000]),
            lost_ppm: *pick(dice, &[0, 0, 200, 2_000]),
            repeated_ppm: *pick(dice, &[0, 1_000, 20_000]),
        };
        plan.journal_bytes = *pick(dice, &[2_000, 20_000, 16 << 20]);
        plan.kv_tokens = *pick(dice, &[4_096, PLENTY_OF_TOKENS, PLENTY_OF_TOKENS]);
        plan.request_every_ms = *pick(dice, &[20, 60, 200]);
        plan.drift_ppm = *pick(dice, &[0, 200, 20_000]);
        plan.heals_at_ms = dice.random_range(6_000..16_000);
        let faults = dice.random_range(1..=8);
        plan.faults = (0..faults).map(|_| fault(dice, &plan)).collect();
        plan.faults.sort_by_key(|fault| fault.at_ms);
        plan.give_back_after_ms = *pick(dice, &[1_000, 5_000, 30_000]);
        plan
    }

    /// A small site in which nothing goes wrong.
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            mode: Mode::Streams,
            aggregators: 3,
            replicas: 3,
            collectors: 2,
            pods: 4,
            links: Links { delay_us: 100, jitter_us: 400, lost_ppm: 0, repeated_ppm: 0 },
            journal_bytes: 16 << 20,
            give_back_after_ms: 30_000,
            kv_tokens: PLENTY_OF_TOKENS,
            request_every_ms: 50,
            drift_ppm: 200,
            heals_at_ms: 8_000,
            faults: Vec::new(),
        }
    }

    /// All processes.
    pub fn nodes(&self) -> Vec<Node> {
        let aggregators = (0..self.aggregators).map(Node::Aggregator);
        let replicas = (0..self.replicas).map(Node::Replica);
        aggregators.chain(replicas).chain((0..self.collectors).map(Node::Collector)).collect()
    }
}

fn pick<'a, T>(dice: &mut SmallRng, from: &'a [T]) -> &'a T {
    &from[dice.random_range(0..from.len())]
}

fn fault(dice: &mut SmallRng, plan: &Plan) -> Fault {
    let nodes = plan.nodes();
    let everybody: Vec<_> = nodes.iter().copied().chain([Node::Coordinator]).collect();
    // Most holes are where the owner is, and any aggregator may be that.
    let node = |dice: &mut SmallRng| {
        if dice.random_ratio(1, 2) {
            Node::Aggregator(dice.random_range(0..plan.aggregators))
        } else {
            *pick(dice, &nodes)
        }
    };
    let anybody = |dice: &mut SmallRng| *pick(dice, &everybody);
    let blow = match dice.random_range(0..100) {
        0..14 => Blow::Kill(node(dice)),
        14..20 => Blow::Lose(node(dice)),
        20..34 => Blow::Pause(node(dice)),
        34..42 => Blow::Drain(dice.random_range(0..plan.aggregators)),
        42..56 => Blow::Cut(node(dice), anybody(dice)),
        56..72 => {
            let mut apart = vec![node(dice)];
            apart.extend(everybody.iter().filter(|_| dice.random_ratio(1, 3)));
            apart.sort_unstable();
            apart.dedup();
            Blow::Split(apart)
        }
        72..78 => Blow::Reset(node(dice)),
        78..83 => Blow::Slow(node(dice), anybody(dice), dice.random_range(20..800)),
        83..89 => Blow::CoordinatorAway,
        89..94 => Blow::PodOut(dice.random_range(0..plan.pods)),
        _ => Blow::PodReborn(dice.random_range(0..plan.pods)),
    };
    let at_ms = dice.random_range(1_000..plan.heals_at_ms);
    let for_ms = *pick(dice, &[10, 300, 1_200, 2_500, 4_000, 10_000]);
    Fault { at_ms, for_ms: for_ms.min(plan.heals_at_ms - at_ms), blow }
}
