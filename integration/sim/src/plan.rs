//! Derives from a seed how many processes a run has, how its links behave, and which faults occur when.

mod fault;
mod flow_control;
mod node;
mod work;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_flow::FlowSettings;
use signalbox_state::{InputLimits, MessageLimits};

pub use fault::{Fault, FaultKind, Refusal};
pub use node::Node;
pub use work::{SlowNodes, Work};

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Like gRPC: in order and exactly once, until the stream breaks.
    Streams,
    /// Harsher than any real transport: messages of a stream are lost, duplicated and reordered.
    Datagrams,
}

/// How the links between processes behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Links {
    /// The shortest delay of a message, in microseconds.
    pub delay_us: u64,
    /// The largest random addition to the delay, in microseconds.
    pub jitter_us: u64,
    /// How many messages in a million are lost. In [`Mode::Streams`] the stream breaks with the message.
    pub loss_ppm: u32,
    /// How many datagrams in a million arrive twice.
    pub duplicate_ppm: u32,
}

/// Everything that determines a run. Two runs of the same plan are identical.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of this plan and of all random choices during the run.
    pub seed: u64,
    /// How messages travel.
    pub mode: Mode,
    /// The number of aggregators.
    pub aggregators: usize,
    /// The number of EPP replicas.
    pub replicas: usize,
    /// The number of collectors.
    pub collectors: usize,
    /// The number of pods.
    pub pods: usize,
    /// How the links behave.
    pub links: Links,
    /// How much history an aggregator keeps, in bytes.
    pub journal_bytes: usize,
    /// How long a lease lasts without renewal, in milliseconds.
    pub lease_ttl_ms: u64,
    /// How long an owner waits before it hands the pool back to the preferred aggregator, in milliseconds.
    pub failback_after_ms: u64,
    /// The KV cache capacity of a model server, in tokens.
    pub kv_tokens: u64,
    /// The mean time between two requests at a replica, in milliseconds.
    pub request_every_ms: u64,
    /// When requests wait, and for how long; `None` if none does.
    pub flow_control: Option<FlowSettings>,
    /// The largest drift of a process's clock, in parts per million.
    pub drift_ppm: i64,
    /// How long processes take for what they do.
    pub work: Work,
    /// How much an owner does with one input.
    pub input_limits: InputLimits,
    /// How much may queue for an aggregator's actor.
    pub message_limits: MessageLimits,
    /// When the last fault ends and everything heals, in milliseconds from the start of the run.
    pub heals_at_ms: u64,
    /// The faults, by the time of their start.
    pub faults: Vec<Fault>,
}

/// A KV cache capacity that no run fills, so that nothing is evicted.
pub(crate) const AMPLE_KV_TOKENS: u64 = 1 << 30;

/// So few messages, at most 8 of a stream and 20 of all streams, that processes have to wait.
pub const FEW_MESSAGES: MessageLimits =
    MessageLimits { message_bytes: 2_000, stream_bytes: 16_000, pool_bytes: 40_000 };

impl Plan {
    /// Derives a plan from a seed.
    pub fn from_seed(seed: u64) -> Self {
        let rng = &mut SmallRng::seed_from_u64(seed);
        let mut plan = Self::without_faults(seed);
        plan.mode = if rng.random_ratio(1, 5) { Mode::Datagrams } else { Mode::Streams };
        plan.aggregators = rng.random_range(1..=4);
        plan.replicas = rng.random_range(1..=4);
        plan.collectors = rng.random_range(1..=3);
        plan.pods = rng.random_range(1..=6);
        plan.links = Links {
            delay_us: *pick(rng, &[50, 200, 1_000, 5_000]),
            jitter_us: *pick(rng, &[50, 500, 5_000, 30_000]),
            loss_ppm: *pick(rng, &[0, 0, 200, 2_000]),
            duplicate_ppm: *pick(rng, &[0, 1_000, 20_000]),
        };
        plan.journal_bytes = *pick(rng, &[2_000, 20_000, 16 << 20]);
        plan.kv_tokens = *pick(rng, &[4_096, AMPLE_KV_TOKENS, AMPLE_KV_TOKENS]);
        plan.request_every_ms = *pick(rng, &[20, 60, 200]);
        plan.drift_ppm = *pick(rng, &[0, 200, 20_000]);
        plan.heals_at_ms = rng.random_range(6_000..16_000);
        let faults = rng.random_range(1..=8);
        plan.faults = (0..faults).map(|_| Fault::random(rng, &plan)).collect();
        plan.faults.sort_by_key(|fault| fault.at_ms);
        plan.failback_after_ms = *pick(rng, &[1_000, 5_000, 30_000]);
        plan.lease_ttl_ms = *pick(rng, &[2_000, 2_000, 6_000]);
        plan.work = Work::random(rng, &plan.nodes());
        // So little that captures and batches of feedback take several inputs although the pool is small.
        let small = InputLimits { placement_work: 64, snapshot_steps: 1 };
        plan.input_limits = *pick(rng, &[small, InputLimits::default()]);
        plan.message_limits = *pick(rng, &[FEW_MESSAGES, MessageLimits::default()]);
        plan.flow_control = Some(flow_control::random(rng));
        plan
    }

    /// Returns a small cluster without faults.
    pub fn without_faults(seed: u64) -> Self {
        Self {
            seed,
            mode: Mode::Streams,
            aggregators: 3,
            replicas: 3,
            collectors: 2,
            pods: 4,
            links: Links { delay_us: 100, jitter_us: 400, loss_ppm: 0, duplicate_ppm: 0 },
            journal_bytes: 16 << 20,
            lease_ttl_ms: 6_000,
            failback_after_ms: 30_000,
            kv_tokens: AMPLE_KV_TOKENS,
            request_every_ms: 50,
            flow_control: Some(FlowSettings::default()),
            drift_ppm: 200,
            work: Work::quick(),
            input_limits: InputLimits::default(),
            message_limits: MessageLimits::default(),
            heals_at_ms: 8_000,
            faults: Vec::new(),
        }
    }

    /// Returns all processes.
    pub fn nodes(&self) -> Vec<Node> {
        let aggregators = (0..self.aggregators).map(Node::Aggregator);
        let replicas = (0..self.replicas).map(Node::Replica);
        aggregators.chain(replicas).chain((0..self.collectors).map(Node::Collector)).collect()
    }
}

fn pick<'a, T>(rng: &mut SmallRng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}
