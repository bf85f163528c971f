//! The signal: what a pool needs, as the owner of the pool publishes it.

use std::sync::Arc;

use crate::group::Group;

/// Which part of a pool's processes and pods the signal rests on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certainty {
    /// Too little is known: no number is given.
    #[default]
    Insufficient,
    /// A part is missing: the numbers do not fall until it is back.
    Partial,
    /// Everything is known that should be.
    Complete,
}

impl Certainty {
    /// Every certainty.
    pub const ALL: [Self; 3] = [Self::Insufficient, Self::Partial, Self::Complete];

    /// Returns the name for logs and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Insufficient => "insufficient",
            Self::Partial => "partial",
            Self::Complete => "complete",
        }
    }
}

/// What decides how many replicas are desired: the largest of the needs, or a rule that holds them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing has happened for the retention: zero is enough.
    #[default]
    Idle,
    /// One replica, because the pool is not idle for certain.
    Minimum,
    /// The tokens that arrive per second.
    Rate,
    /// The tokens that are about to arrive by the time a pod has started, if demand goes on to grow.
    Growth,
    /// The tokens that wait for their prefill already, or a backlog that the measured capacity does not explain.
    Backlog,
    /// The KV cache that running and waiting requests take.
    KvCache,
    /// A lower number would be enough by now, but not for long enough yet.
    Stabilizing,
    /// A lower number would be enough of what is known, but not everything is.
    HeldPartial,
    /// The new owner of the pool has not measured for long enough yet.
    HeldTakeover,
    /// Nothing was measured yet: as many as there are, and one more while these are overloaded.
    Unmeasured,
    /// One that this version does not know: the owner of the pool is of a later one.
    Other,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 11] = [
        Self::Idle,
        Self::Minimum,
        Self::Rate,
        Self::Growth,
        Self::Backlog,
        Self::KvCache,
        Self::Stabilizing,
        Self::HeldPartial,
        Self::HeldTakeover,
        Self::Unmeasured,
        Self::Other,
    ];

    /// Returns the name for logs and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Minimum => "minimum",
            Self::Rate => "rate",
            Self::Growth => "growth",
            Self::Backlog => "backlog",
            Self::KvCache => "kv_cache",
            Self::Stabilizing => "stabilizing",
            Self::HeldPartial => "held_partial",
            Self::HeldTakeover => "held_takeover",
            Self::Unmeasured => "unmeasured",
            Self::Other => "other",
        }
    }
}

/// How many replicas of a group are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicaCounts {
    /// They serve, and their speed counts.
    pub ready: u32,
    /// They have started, but are not as fast yet as they will be.
    pub warming: u32,
    /// They finish what they have.
    pub draining: u32,
    /// They serve as far as is known, but their metrics are out of date.
    pub stale: u32,
    /// They do not serve: down, asleep, or taken out after failures.
    pub failed: u32,
}

impl ReplicaCounts {
    /// Returns how many serve or will do so soon.
    pub fn provisioned(&self) -> u32 {
        self.ready + self.warming + self.stale
    }
}

/// Tokens per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenRates {
    /// Prompt tokens that no cache holds.
    pub prefill: u64,
    /// Output tokens.
    pub decode: u64,
}

/// What one group of a pool needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSignal {
    /// The group.
    pub group: Group,
    /// How many replicas it should have, including those that are starting.
    pub desired: u32,
    /// What decided that.
    pub reason: Reason,
    /// How many replicas the demand of the moment needs, in thousandths, before any rule that steadies it; `None` if nobody
    /// knows what a replica can do.
    pub demand_milli: Option<u64>,
    /// Tokens that arrive, those of refused and waiting requests included.
    pub demand: TokenRates,
    /// Tokens that all its ready replicas can process; `None` if that was never measured.
    pub capacity: Option<TokenRates>,
    /// Tokens that one warmed replica can process; the last that was measured, if there is none now.
    pub per_replica: Option<TokenRates>,
    /// Tokens that fit into the KV cache of one replica; 0 if that is unknown.
    pub kv_tokens_per_replica: u64,
    /// How long one replica would need to prefill what waits, in milliseconds; `None` if nobody knows what a replica can do.
    pub prefill_backlog_ms: Option<u64>,
    /// How many replicas the KV cache of running and waiting requests fills, in thousandths; `None` if the engines do not
    /// tell.
    pub kv_demand_milli: Option<u64>,
    /// Demand relative to the capacity of the ready replicas, in thousandths; `None` if there is no capacity.
    pub utilization_milli: Option<u64>,
    /// How full the replicas are whose metrics are current, in thousandths; `None` without any.
    pub saturation_milli: Option<u64>,
    /// How long replicas took to start lately, 90th percentile in milliseconds.
    pub startup_ms: u64,
    /// `startup_ms` relative to the time until the group is full if demand goes on to grow, in thousandths, at most 4000.
    pub urgency_milli: u64,
    /// Its replicas by state.
    pub replicas: ReplicaCounts,
}

/// What waits in flow control at all EPP replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Requests.
    pub requests: u64,
    /// Uncached prompt tokens and expected output tokens.
    pub tokens: u64,
    /// How long the oldest request has waited, in milliseconds.
    pub oldest_ms: u64,
}

/// The part of the pool's processes and pods that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Pods with current metrics, in percent of all that serve.
    pub pods_percent: u8,
    /// EPP replicas that report, in percent of those that should.
    pub epp_replicas_percent: u8,
}

/// How many replicas of an adapter its requests would keep busy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdapterDemand {
    /// The name of the LoRA adapter.
    pub adapter: Arc<str>,
    /// Replicas, in thousandths.
    pub demand_milli: u64,
}

/// What a pool needs, as its owner has assessed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signal {
    /// The epoch of the owner that assessed it.
    pub epoch: u64,
    /// When it was assessed, in milliseconds of the pool's clock.
    pub assessed_at_ms: u64,
    /// How sure it is.
    pub certainty: Certainty,
    /// What it rests on.
    pub coverage: Coverage,
    /// What each group needs, ordered by group. A pool that never had a pod has one group, [`Group::default`].
    pub groups: Vec<GroupSignal>,
    /// What waits.
    pub queue: Queue,
    /// Requests refused for lack of room, in thousandths of those that arrived in the last minute.
    pub shed_milli: u64,
    /// Whether a request waits or is in flight, or was lately. It is false only if every EPP replica has said so for the
    /// whole retention.
    pub is_active: bool,
    /// Whether a request waits and no pod is there to serve it.
    pub awaits_first_pod: bool,
    /// The LoRA adapters with requests, the most wanted first; at most [`Self::MAX_ADAPTERS`].
    pub adapters: Vec<AdapterDemand>,
}

impl Signal {
    /// The maximum number of adapters in a signal.
    pub const MAX_ADAPTERS: usize = 64;

    /// The maximum number of groups in a signal.
    pub const MAX_GROUPS: usize = 64;
}
