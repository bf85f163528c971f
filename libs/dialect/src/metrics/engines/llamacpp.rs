//! Metric families of llama.cpp's server, which has a page if it is started with `--metrics`. It does not report its
//! start or the requests that ended. Releases of 2025 and later do not report KV cache use.

use crate::metrics::family::{Family, Role};

pub(super) const FAMILIES: &[Family<'_>] = &[
    Family::new("llamacpp:requests_deferred", Role::Waiting),
    Family::new("llamacpp:requests_processing", Role::Running),
    Family::new("llamacpp:kv_cache_usage_ratio", Role::KvUse),
    Family::new("llamacpp:tokens_predicted_total", Role::GenerationTokens),
    Family::new("llamacpp:prompt_tokens_total", Role::PromptTokens),
];
