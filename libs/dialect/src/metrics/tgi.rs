//! The names of Text Generation Inference. It does not tell how full its KV cache is.

use super::table::{Family, Role};

pub(super) const FAMILIES: &[Family] = &[
    Family::new("tgi_queue_size", Role::Waiting),
    Family::new("tgi_batch_current_size", Role::Running),
    Family::new("process_start_time_seconds", Role::Started),
];
