//! Text Generation Inference's metric families. It does not report KV cache use.

use crate::metrics::family::{Family, Role};

pub(super) const FAMILIES: &[Family] = &[
    Family::new("tgi_queue_size", Role::Waiting),
    Family::new("tgi_batch_current_size", Role::Running),
    Family::new("process_start_time_seconds", Role::Started),
];
