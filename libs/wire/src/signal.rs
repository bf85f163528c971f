//! The autoscaling signal: in changes and snapshots, and as the coordinator stores it.

use prost::Message;
use prost::bytes::Bytes;
use signalbox_protos::signalbox::v1 as pb;
use signalbox_signal::{
    AdapterDemand, Certainty, Coverage, Group, GroupSignal, Queue, Reason, ReplicaCounts, Role, Signal,
    TokenRates,
};

use crate::error::WireError;

/// Encodes a signal for the coordinator.
pub fn encode_signal(signal: &Signal) -> Bytes {
    encode(signal).encode_to_vec().into()
}

/// Decodes a signal that the coordinator has stored.
///
/// # Errors
/// [`WireError`] when it is no signal.
pub fn decode_signal(stored: Bytes) -> Result<Signal, WireError> {
    Ok(decode(pb::Signal::decode(stored).map_err(|_| WireError::Bounds("signal"))?))
}

pub(crate) fn encode(signal: &Signal) -> pb::Signal {
    let Signal {
        epoch,
        assessed_at_ms,
        certainty,
        coverage: Coverage { pods_percent, epp_replicas_percent },
        groups,
        queue: Queue { requests, tokens, oldest_ms },
        shed_milli,
        is_active,
        awaits_first_pod,
        adapters,
    } = signal;
    let certainty = match certainty {
        Certainty::Insufficient => pb::SignalCertainty::Insufficient,
        Certainty::Partial => pb::SignalCertainty::Partial,
        Certainty::Complete => pb::SignalCertainty::Complete,
    };
    let adapter = |AdapterDemand { adapter, demand_milli }: &AdapterDemand| pb::AdapterDemand {
        adapter: adapter.to_string(),
        demand_milli: *demand_milli,
    };
    pb::Signal {
        epoch: *epoch,
        assessed_at_ms: *assessed_at_ms,
        certainty: certainty.into(),
        pods_percent: (*pods_percent).into(),
        epp_replicas_percent: (*epp_replicas_percent).into(),
        groups: groups.iter().map(encode_group).collect(),
        queue: Some(pb::SignalQueue { requests: *requests, tokens: *tokens, oldest_ms: *oldest_ms }),
        shed_milli: *shed_milli,
        is_active: *is_active,
        awaits_first_pod: *awaits_first_pod,
        adapters: adapters.iter().map(adapter).collect(),
    }
}

/// Reads as much of a signal as this version knows: a later one may have other reasons and roles, and no signal is worth the
/// pool state that it comes with.
pub(crate) fn decode(message: pb::Signal) -> Signal {
    let pb::Signal {
        epoch,
        assessed_at_ms,
        certainty,
        pods_percent,
        epp_replicas_percent,
        groups,
        queue,
        shed_milli,
        is_active,
        awaits_first_pod,
        adapters,
    } = message;
    let certainty = match pb::SignalCertainty::try_from(certainty) {
        Ok(pb::SignalCertainty::Insufficient) | Err(_) => Certainty::Insufficient,
        Ok(pb::SignalCertainty::Partial) => Certainty::Partial,
        Ok(pb::SignalCertainty::Complete) => Certainty::Complete,
    };
    let coverage = Coverage {
        pods_percent: decode_percent(pods_percent),
        epp_replicas_percent: decode_percent(epp_replicas_percent),
    };
    let pb::SignalQueue { requests, tokens, oldest_ms } = queue.unwrap_or_default();
    let adapter = |pb::AdapterDemand { adapter, demand_milli }: pb::AdapterDemand| AdapterDemand {
        adapter: adapter.into(),
        demand_milli,
    };
    Signal {
        epoch,
        assessed_at_ms,
        certainty,
        coverage,
        groups: groups.into_iter().filter_map(decode_group).take(Signal::MAX_GROUPS).collect(),
        queue: Queue { requests, tokens, oldest_ms },
        shed_milli,
        is_active,
        awaits_first_pod,
        adapters: adapters.into_iter().take(Signal::MAX_ADAPTERS).map(adapter).collect(),
    }
}

fn encode_group(group: &GroupSignal) -> pb::GroupSignal {
    let GroupSignal {
        group: Group { role, deployment },
        desired,
        reason,
        demand_milli,
        demand,
        capacity,
        per_replica,
        kv_tokens_per_replica,
        prefill_backlog_ms,
        kv_demand_milli,
        utilization_milli,
        saturation_milli,
        startup_ms,
        urgency_milli,
        replicas: ReplicaCounts { ready, warming, draining, stale, failed },
    } = group;
    let role = match role {
        Role::Both => pb::PodRole::Both,
        Role::Prefill => pb::PodRole::Prefill,
        Role::Decode => pb::PodRole::Decode,
    };
    let replicas = pb::ReplicaCounts {
        ready: *ready,
        warming: *warming,
        draining: *draining,
        stale: *stale,
        failed: *failed,
    };
    pb::GroupSignal {
        role: role.into(),
        deployment: deployment.to_string(),
        desired: *desired,
        reason: encode_reason(*reason).into(),
        demand_milli: *demand_milli,
        demand: Some(encode_rates(*demand)),
        capacity: capacity.map(encode_rates),
        per_replica: per_replica.map(encode_rates),
        kv_tokens_per_replica: *kv_tokens_per_replica,
        prefill_backlog_ms: *prefill_backlog_ms,
        kv_demand_milli: *kv_demand_milli,
        utilization_milli: *utilization_milli,
        saturation_milli: *saturation_milli,
        startup_ms: *startup_ms,
        urgency_milli: *urgency_milli,
        replicas: Some(replicas),
    }
}

/// Returns the signal of a group; `None` if its pods have a role that this version does not know.
fn decode_group(message: pb::GroupSignal) -> Option<GroupSignal> {
    let pb::GroupSignal {
        role,
        deployment,
        desired,
        reason,
        demand_milli,
        demand,
        capacity,
        per_replica,
        kv_tokens_per_replica,
        prefill_backlog_ms,
        kv_demand_milli,
        utilization_milli,
        saturation_milli,
        startup_ms,
        urgency_milli,
        replicas,
    } = message;
    let role = match pb::PodRole::try_from(role) {
        Ok(pb::PodRole::Both) => Role::Both,
        Ok(pb::PodRole::Prefill) => Role::Prefill,
        Ok(pb::PodRole::Decode) => Role::Decode,
        Err(_) => return None,
    };
    let pb::ReplicaCounts { ready, warming, draining, stale, failed } = replicas.unwrap_or_default();
    Some(GroupSignal {
        group: Group { role, deployment: deployment.into() },
        desired,
        reason: decode_reason(reason),
        demand_milli,
        demand: decode_rates(demand.unwrap_or_default()),
        capacity: capacity.map(decode_rates),
        per_replica: per_replica.map(decode_rates),
        kv_tokens_per_replica,
        prefill_backlog_ms,
        kv_demand_milli,
        utilization_milli,
        saturation_milli,
        startup_ms,
        urgency_milli,
        replicas: ReplicaCounts { ready, warming, draining, stale, failed },
    })
}

fn encode_reason(reason: Reason) -> pb::SignalReason {
    match reason {
        Reason::Idle => pb::SignalReason::Idle,
        Reason::Minimum => pb::SignalReason::Minimum,
        Reason::Rate => pb::SignalReason::Rate,
        Reason::Growth => pb::SignalReason::Growth,
        Reason::Backlog => pb::SignalReason::Backlog,
        Reason::KvCache => pb::SignalReason::KvCache,
        Reason::Stabilizing => pb::SignalReason::Stabilizing,
        Reason::HeldPartial => pb::SignalReason::HeldPartial,
        Reason::HeldTakeover => pb::SignalReason::HeldTakeover,
        Reason::Unmeasured => pb::SignalReason::Unmeasured,
        Reason::Other => pb::SignalReason::Unspecified,
    }
}

fn decode_reason(reason: i32) -> Reason {
    match pb::SignalReason::try_from(reason) {
        Ok(pb::SignalReason::Idle) => Reason::Idle,
        Ok(pb::SignalReason::Minimum) => Reason::Minimum,
        Ok(pb::SignalReason::Rate) => Reason::Rate,
        Ok(pb::SignalReason::Growth) => Reason::Growth,
        Ok(pb::SignalReason::Backlog) => Reason::Backlog,
        Ok(pb::SignalReason::KvCache) => Reason::KvCache,
        Ok(pb::SignalReason::Stabilizing) => Reason::Stabilizing,
        Ok(pb::SignalReason::HeldPartial) => Reason::HeldPartial,
        Ok(pb::SignalReason::HeldTakeover) => Reason::HeldTakeover,
        Ok(pb::SignalReason::Unmeasured) => Reason::Unmeasured,
        Ok(pb::SignalReason::Unspecified) | Err(_) => Reason::Other,
    }
}

fn encode_rates(TokenRates { prefill, decode }: TokenRates) -> pb::TokenRates {
    pb::TokenRates { prefill, decode }
}

fn decode_rates(pb::TokenRates { prefill, decode }: pb::TokenRates) -> TokenRates {
    TokenRates { prefill, decode }
}

fn decode_percent(percent: u32) -> u8 {
    percent.min(100) as u8
}
