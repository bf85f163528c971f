//! Which engines report cached tokens.

use dashmap::DashMap;
use signalbox_intake::Api;
use signalbox_types::{EndpointKey, Incarnation};

/// Maximum number of endpoints and APIs that are remembered. When there are more, all are forgotten and learned
/// again.
const MAX_ENTRIES: usize = 65_536;

/// Which engines have reported cached tokens, and in responses of which APIs.
///
/// vLLM leaves the number out when no token was cached, and also unless it runs with
/// `--enable-prompt-tokens-details`. So absence means zero once the same engine has reported a number through the
/// same API. Some of its APIs never report one.
#[derive(Debug, Default)]
pub(crate) struct CachingReports {
    reporting: DashMap<(EndpointKey, &'static str), Incarnation>,
}

impl CachingReports {
    /// Returns the cached tokens of a prompt with the reported number; `None` if it is unknown whether there were any.
    pub(crate) fn cached_tokens(
        &self,
        (endpoint, incarnation, api): (EndpointKey, Incarnation, Api),
        prompt_tokens: Option<u64>,
        cached_tokens: Option<u64>,
    ) -> Option<u64> {
        prompt_tokens?;
        let key = (endpoint, name(api));
        let is_reporting = self.reporting.get(&key).is_some_and(|of| *of == incarnation);
        if cached_tokens.is_some() && !is_reporting {
            if self.reporting.len() >= MAX_ENTRIES {
                self.reporting.clear();
            }
            self.reporting.insert(key, incarnation);
        }
        cached_tokens.or_else(|| is_reporting.then_some(0))
    }
}

/// Returns a name for each API whose responses have a form of their own.
fn name(api: Api) -> &'static str {
    match api {
        Api::Completions => "completions",
        Api::Chat | Api::VertexChat => "chat",
        Api::Responses | Api::VertexPredict => "responses",
        Api::Embeddings => "embeddings",
        Api::Messages => "messages",
        Api::VllmGenerate | Api::VllmGrpcGenerate | Api::VllmGrpcEmbed => "vllm",
        Api::Generate | Api::GenerateStream => "generate",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_number_means_zero_once_the_engine_reported_one_through_the_same_api() {
        let reports = CachingReports::default();
        let cached = |incarnation: u64, api, cached_tokens| {
            let at = (EndpointKey(1), Incarnation(incarnation), api);
            reports.cached_tokens(at, Some(10), cached_tokens)
        };
        assert_eq!(None, cached(1, Api::Chat, None));
        assert_eq!(Some(7), cached(1, Api::Chat, Some(7)));
        assert_eq!(Some(0), cached(1, Api::Chat, None));
        assert_eq!(None, cached(1, Api::Messages, None), "another API");
        assert_eq!(None, cached(2, Api::Chat, None), "after a restart");
        assert_eq!(Some(0), cached(2, Api::Chat, Some(0)));
    }

    #[test]
    fn response_without_usage_reports_nothing() {
        let reports = CachingReports::default();
        let at = (EndpointKey(1), Incarnation(1), Api::Chat);
        assert_eq!(Some(5), reports.cached_tokens(at, Some(9), Some(5)));
        assert_eq!(None, reports.cached_tokens(at, None, None));
    }
}
