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
/// [`WireError`] when it is no signal, or has more groups or adapters than a signal can have.
pub fn decode_signal(stored: Bytes) -> Result<Signal, WireError> {
    decode(pb::Signal::decode(stored).map_err(|_| WireError::Bounds("signal"))?)
}

pub(crate) fn encode(signal: &Signal) -> pb::Signal {
    let Signal {
        epoch,
        assessed_at_ms,
        certainty,
        coverage: Coverage { pods_percent, replicas_percent },
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
        replicas_percent: (*replicas_percent).into(),
        groups: groups.iter().map(encode_group).collect(),
        queue: Some(pb::SignalQueue { requests: *requests, tokens: *tokens, oldest_ms: *oldest_ms }),
        shed_milli: *shed_milli,
        is_active: *is_active,
        awaits_first_pod: *awaits_first_pod,
        adapters: adapters.iter().map(adapter).collect(),
    }
}

pub(crate) fn decode(message: pb::Signal) -> Result<Signal, WireError> {
    let pb::Signal {
        epoch,
        assessed_at_ms,
        certainty,
        pods_percent,
        replicas_percent,
        groups,
        queue,
        shed_milli,
        is_active,
        awaits_first_pod,
        adapters,
    } = message;
    if groups.len() > Signal::MAX_GROUPS || adapters.len() > Signal::MAX_ADAPTERS {
        return Err(WireError::Bounds("the number of groups or adapters in a signal"));
    }
    let certainty = match pb::SignalCertainty::try_from(certainty) {
        Ok(pb::SignalCertainty::Insufficient) => Certainty::Insufficient,
        Ok(pb::SignalCertainty::Partial) => Certainty::Partial,
        Ok(pb::SignalCertainty::Complete) => Certainty::Complete,
        Err(_) => return Err(WireError::Missing("certainty")),
    };
    let coverage = Coverage {
        pods_percent: decode_percent(pods_percent)?,
        replicas_percent: decode_percent(replicas_percent)?,
    };
    let pb::SignalQueue { requests, tokens, oldest_ms } = queue.unwrap_or_default();
    let adapter = |pb::AdapterDemand { adapter, demand_milli }: pb::AdapterDemand| AdapterDemand {
        adapter: adapter.into(),
        demand_milli,
    };
    Ok(Signal {
        epoch,
        assessed_at_ms,
        certainty,
        coverage,
        groups: groups.into_iter().map(decode_group).collect::<Result<_, _>>()?,
        queue: Queue { requests, tokens, oldest_ms },
        shed_milli,
        is_active,
        awaits_first_pod,
        adapters: adapters.into_iter().map(adapter).collect(),
    })
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

fn decode_group(message: pb::GroupSignal) -> Result<GroupSignal, WireError> {
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
        Err(_) => return Err(WireError::Missing("role")),
    };
    let pb::ReplicaCounts { ready, warming, draining, stale, failed } = replicas.unwrap_or_default();
    Ok(GroupSignal {
        group: Group { role, deployment: deployment.into() },
        desired,
        reason: decode_reason(reason)?,
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
    }
}

fn decode_reason(reason: i32) -> Result<Reason, WireError> {
    match pb::SignalReason::try_from(reason) {
        Ok(pb::SignalReason::Idle) => Ok(Reason::Idle),
        Ok(pb::SignalReason::Minimum) => Ok(Reason::Minimum),
        Ok(pb::SignalReason::Rate) => Ok(Reason::Rate),
        Ok(pb::SignalReason::Growth) => Ok(Reason::Growth),
        Ok(pb::SignalReason::Backlog) => Ok(Reason::Backlog),
        Ok(pb::SignalReason::KvCache) => Ok(Reason::KvCache),
        Ok(pb::SignalReason::Stabilizing) => Ok(Reason::Stabilizing),
        Ok(pb::SignalReason::HeldPartial) => Ok(Reason::HeldPartial),
        Ok(pb::SignalReason::HeldTakeover) => Ok(Reason::HeldTakeover),
        Ok(pb::SignalReason::Unmeasured) => Ok(Reason::Unmeasured),
        Ok(pb::SignalReason::Unspecified) | Err(_) => Err(WireError::Missing("reason")),
    }
}

fn encode_rates(TokenRates { prefill, decode }: TokenRates) -> pb::TokenRates {
    pb::TokenRates { prefill, decode }
}

fn decode_rates(pb::TokenRates { prefill, decode }: pb::TokenRates) -> TokenRates {
    TokenRates { prefill, decode }
}

fn decode_percent(percent: u32) -> Result<u8, WireError> {
    let percent = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
    percent.ok_or(WireError::Bounds("a percentage in a signal"))
}
