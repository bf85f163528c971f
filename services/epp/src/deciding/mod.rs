//! The request path from a parsed request to an endpoint, and the records of decisions.

pub(crate) mod admission;
pub(crate) mod decision_snapshot;
pub(crate) mod decision_spans;
mod owner_silence;
pub(crate) mod pick;
pub(crate) mod picker;
pub(crate) mod recorder;
mod recording_ring;
mod saturation;
