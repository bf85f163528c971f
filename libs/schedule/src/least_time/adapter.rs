//! What it costs that an endpoint does not have the LoRA adapter that is asked for.

use signalbox_state::{AdapterLocation, EndpointState};

use crate::decision_inputs::DecisionInputs;
use crate::least_time::LeastTime;

/// Time until `member` has the adapter that the request asks for, in microseconds; nothing where it has it, or where the request
/// asks for none.
///
/// - loading: the time to load it, from host memory or from where adapters are kept
/// - giving way: without a free slot another adapter is given up, and will have to be loaded again: the time for that
/// - waiting: where requests of as many adapters run as there are slots, the time until one of them is done
///
/// The second makes adapters stay where they are when there are more than slots; a hot adapter gets a second endpoint when the wait at
/// the first outgrows the sum.
pub(super) fn load_us(inputs: &DecisionInputs<'_>, settings: &LeastTime, member: &EndpointState) -> u64 {
    let Some(adapter) = inputs.view.adapter(&inputs.request.model) else { return 0 };
    if inputs.local.adapter_sent.contains(&member.key) {
        return 0;
    }
    let Some(residency) = member.adapters.as_deref() else { return settings.adapter_load_us };
    let loading_us = match residency.place_of(adapter) {
        AdapterLocation::Device | AdapterLocation::Loading => return 0,
        AdapterLocation::Host => settings.adapter_from_host_us,
        AdapterLocation::Absent => settings.adapter_load_us,
    };
    if residency.free_slots() > 0 {
        return loading_us;
    }
    let waiting_us = if residency.is_occupied() { settings.service_ms * 1_000 } else { 0 };
    loading_us + settings.adapter_load_us + waiting_us
}
