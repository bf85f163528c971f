//! The numbers of a signal that autoscalers can ask for, by name.

use std::fmt;
use std::str::FromStr;

/// A number of a signal. Its name is the same in Prometheus, in the metrics APIs of Kubernetes and in KEDA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// How many replicas there should be.
    DesiredReplicas,
    /// How many replicas the demand of the moment needs.
    DemandReplicas,
    /// How long one replica would need to prefill what waits.
    PrefillBacklog,
    /// How many replicas the KV cache of running and waiting requests fills.
    KvDemandReplicas,
    /// Uncached prompt tokens that arrive per second.
    PrefillDemand,
    /// Output tokens that arriving requests ask for per second.
    DecodeDemand,
    /// Prompt tokens that the ready replicas can prefill per second.
    PrefillCapacity,
    /// Output tokens that the ready replicas can produce per second.
    DecodeCapacity,
    /// Demand relative to capacity.
    Utilization,
    /// How full the replicas are.
    Saturation,
    /// How urgent it is to start replicas.
    ScaleUrgency,
    /// How long replicas take to start.
    Startup,
    /// Requests that wait.
    QueueRequests,
    /// Tokens that wait.
    QueueTokens,
    /// How long the oldest request has waited.
    QueueOldest,
    /// Refused requests relative to all.
    Shed,
    /// Whether a request waits or is in flight, or was lately.
    Active,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 17] = [
        Self::DesiredReplicas,
        Self::DemandReplicas,
        Self::PrefillBacklog,
        Self::KvDemandReplicas,
        Self::PrefillDemand,
        Self::DecodeDemand,
        Self::PrefillCapacity,
        Self::DecodeCapacity,
        Self::Utilization,
        Self::Saturation,
        Self::ScaleUrgency,
        Self::Startup,
        Self::QueueRequests,
        Self::QueueTokens,
        Self::QueueOldest,
        Self::Shed,
        Self::Active,
    ];

    /// Returns the name, with the unit as Prometheus has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::DesiredReplicas => "signalbox_desired_replicas",
            Self::DemandReplicas => "signalbox_demand_replicas",
            Self::PrefillBacklog => "signalbox_prefill_backlog_seconds",
            Self::KvDemandReplicas => "signalbox_kv_demand_replicas",
            Self::PrefillDemand => "signalbox_prefill_demand_tokens_per_second",
            Self::DecodeDemand => "signalbox_decode_demand_tokens_per_second",
            Self::PrefillCapacity => "signalbox_prefill_capacity_tokens_per_second",
            Self::DecodeCapacity => "signalbox_decode_capacity_tokens_per_second",
            Self::Utilization => "signalbox_utilization_ratio",
            Self::Saturation => "signalbox_saturation_ratio",
            Self::ScaleUrgency => "signalbox_scale_urgency_ratio",
            Self::Startup => "signalbox_startup_seconds",
            Self::QueueRequests => "signalbox_queue_requests",
            Self::QueueTokens => "signalbox_queue_tokens",
            Self::QueueOldest => "signalbox_queue_oldest_seconds",
            Self::Shed => "signalbox_shed_ratio",
            Self::Active => "signalbox_active",
        }
    }

    /// Returns what it means, in one sentence without a full stop.
    pub const fn help(self) -> &'static str {
        match self {
            Self::DesiredReplicas => "Replicas that there should be, including those that are starting",
            Self::DemandReplicas => "Replicas that the demand of the moment needs, not steadied",
            Self::PrefillBacklog => "Time that one replica would need to prefill what waits",
            Self::KvDemandReplicas => "Replicas whose KV cache running and waiting requests fill",
            Self::PrefillDemand => "Uncached prompt tokens that arrive, refused and waiting ones included",
            Self::DecodeDemand => "Output tokens that arriving requests ask for",
            Self::PrefillCapacity => "Prompt tokens that the ready replicas can prefill",
            Self::DecodeCapacity => "Output tokens that the ready replicas can produce",
            Self::Utilization => "Demand relative to the capacity of the ready replicas",
            Self::Saturation => "How full the replicas are whose metrics are current",
            Self::ScaleUrgency => {
                "Time to start a replica relative to the time until the pool is full, at most 4"
            }
            Self::Startup => "Time that replicas took to start lately, 90th percentile",
            Self::QueueRequests => "Requests that wait in flow control at all EPP replicas",
            Self::QueueTokens => {
                "Uncached prompt tokens and expected output tokens that wait in flow control"
            }
            Self::QueueOldest => "How long the oldest request has waited in flow control",
            Self::Shed => "Refused requests relative to all that arrived in the last minute",
            Self::Active => "Whether a request waits or is in flight, or was lately",
        }
    }

    /// Returns whether each group has its own value. The others have one value for the pool.
    pub const fn is_of_group(self) -> bool {
        !matches!(
            self,
            Self::QueueRequests | Self::QueueTokens | Self::QueueOldest | Self::Shed | Self::Active
        )
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|metric| metric.name() == name);
        found.ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("unknown metric \"{name}\"; use one of: {known}")
        })
    }
}
