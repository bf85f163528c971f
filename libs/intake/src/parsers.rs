//! Restricts the accepted APIs to the configured parsers.

use crate::api::{Api, PASSTHROUGH, Route};

/// The parsers in a configuration, by their plugin types in the Go EPP.
///
/// A request that belongs to none of the listed parsers is refused, unless `passthrough-parser` is listed. An
/// empty list accepts every API and lets all other requests pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsers(Vec<String>);

impl Parsers {
    /// Returns the parsers with these plugin types.
    pub fn new(types: impl IntoIterator<Item = String>) -> Self {
        Self(types.into_iter().collect())
    }

    /// Returns how to parse the body of a request to `path`, or `None` if the request must be refused.
    pub fn api_for_path(&self, path: &str) -> Option<Api> {
        let route = Route::for_path(path);
        match route.filter(|route| self.0.is_empty() || self.contains(route.parser)) {
            Some(route) => Some(route.api),
            None => (self.0.is_empty() || self.contains(PASSTHROUGH)).then_some(Api::Opaque),
        }
    }

    /// Returns whether a listed parser handles `api`, which was found by the shape of a body.
    pub fn allow(&self, api: Api) -> bool {
        let handles = |parser| Route::all().any(|route| route.api == api && route.parser == parser);
        self.0.is_empty() || self.0.iter().any(|parser| parser == PASSTHROUGH || handles(parser))
    }

    fn contains(&self, parser: &str) -> bool {
        self.0.iter().any(|listed| listed == parser)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unlisted_parsers_are_refused_without_passthrough() {
        let parsers = |types: &[&str]| Parsers::new(types.iter().map(|name| (*name).to_owned()));
        let (messages, counting, other) = ("/v1/messages", "/v1/messages/count_tokens", "/v1/models");
        assert_eq!(Some(Api::Messages), parsers(&[]).api_for_path(messages));
        assert_eq!(Some(Api::ModelJson), parsers(&[]).api_for_path(counting));
        assert_eq!(Some(Api::Opaque), parsers(&[]).api_for_path(other));
        let openai = parsers(&["openai-parser"]);
        assert_eq!(Some(Api::Chat), openai.api_for_path("/v1/chat/completions"));
        assert_eq!(None, openai.api_for_path(messages));
        assert_eq!(None, openai.api_for_path(counting));
        assert_eq!(None, openai.api_for_path(other));
        let anthropic = parsers(&["anthropic-parser"]);
        assert_eq!(Some(Api::Messages), anthropic.api_for_path(messages));
        assert_eq!(Some(Api::ModelJson), anthropic.api_for_path(counting));
        assert_eq!(None, anthropic.api_for_path(other));
        assert!(parsers(&[]).allow(Api::Messages) && !openai.allow(Api::Messages) && openai.allow(Api::Chat));
        assert!(parsers(&[PASSTHROUGH]).allow(Api::Opaque) && !openai.allow(Api::Opaque));
        let passing = parsers(&["openai-parser", PASSTHROUGH]);
        assert_eq!(Some(Api::Opaque), passing.api_for_path(messages));
        assert_eq!(Some(Api::ModelJson), passing.api_for_path("/rerank"));
        assert_eq!(None, openai.api_for_path("/rerank"));
    }
}
