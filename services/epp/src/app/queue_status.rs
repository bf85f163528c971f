//! What waits for places in a pool, for a person who watches.

use crate::deciding::picker::Picker;

/// What waits for places in a pool, as a replica knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueueStatus {
    /// The requests that wait at all replicas, by priority, highest first. Priorities of which none waits are left out.
    pub waiting: Vec<(i32, u64)>,
    /// How full the pool is: 0 is idle, 1 is full.
    pub saturation: f64,
    /// How many requests per second left the queues of all replicas lately, while some waited.
    pub drained_per_second: f64,
    /// Whether this replica grants by itself, because it hears no owner.
    pub grants_locally: bool,
}

impl QueueStatus {
    /// Returns what waits in a picker's pool; `None` if no request ever waits, because flow control is off.
    pub(super) fn of(picker: &Picker) -> Option<Self> {
        let view = &picker.snapshot.load().view;
        let bands = picker.waiting_bands().into_iter().map(|(priority, usage)| (priority, usage.requests));
        picker.gate.is_waiting_room().then(|| Self {
            waiting: bands.filter(|(_, requests)| *requests > 0).collect(),
            saturation: picker.pool_saturation(view),
            drained_per_second: view.flows().drain_rate().requests_per_second(),
            grants_locally: picker.gate.grants_locally(),
        })
    }
}
