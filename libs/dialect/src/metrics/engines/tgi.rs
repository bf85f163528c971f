//! Text Generation Inference's metric families. It does not report KV cache use, its start or a counter of
//! tokens; the sums of the histograms of request lengths serve as counters.

use crate::metrics::family::{Family, Role};

pub(super) const FAMILIES: &[Family<'_>] = &[
    Family::new("tgi_queue_size", Role::Waiting),
    Family::new("tgi_batch_current_size", Role::Running),
    Family::new("tgi_request_count", Role::Requests),
    Family::new("tgi_request_input_length_sum", Role::PromptTokens),
    Family::new("tgi_request_generated_tokens_sum", Role::GenerationTokens),
    Family::new("process_start_time_seconds", Role::Started),
];
