//! The cost of an endpoint without the requested LoRA adapter.

use signalbox_state::{AdapterLocation, EndpointState};

use super::settings::LeastTime;
use crate::decision_inputs::DecisionInputs;

/// Returns the time until `endpoint` has the requested adapter, in microseconds; 0 if it has the adapter, or
/// if the request does not ask for one.
///
/// - loading: the time to load the adapter, from host memory or from storage
/// - eviction: without a free slot another adapter is evicted and must be loaded again; that load counts too
/// - waiting: if all slots have running requests, the time until one of these requests ends
///
/// The eviction term keeps adapters where they are when there are more adapters than slots. A hot adapter
/// gets a second endpoint when the wait at the first exceeds the sum.
pub(super) fn adapter_cost_us(
    inputs: &DecisionInputs<'_>,
    settings: &LeastTime,
    endpoint: &EndpointState,
) -> u64 {
    let Some(adapter) = inputs.view.adapter(&inputs.request.model) else { return 0 };
    if inputs.local.adapter_sent_to.contains(&endpoint.key) {
        return 0;
    }
    let Some(residency) = endpoint.adapters.as_deref() else { return settings.adapter_load_us };
    let loading_us = match residency.location_of(adapter) {
        AdapterLocation::Device | AdapterLocation::Loading => return 0,
        AdapterLocation::Host => settings.adapter_from_host_us,
        AdapterLocation::Absent => settings.adapter_load_us,
    };
    if residency.free_slots() > 0 {
        return loading_us;
    }
    let waiting_us = if residency.is_full() { settings.service_ms * 1_000 } else { 0 };
    loading_us + settings.adapter_load_us + waiting_us
}
