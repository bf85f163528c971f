//! Which APIs are spoken.

use crate::api::{Api, Route};

/// The parsers that a configuration names, by the types that the Go EPP gives them. Those that none of them is for are refused, unless
/// `passthrough-parser` is among them; without any, every API is spoken and all else passes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsers(Vec<String>);

/// What lets everything pass that no other parser is for.
const PASSTHROUGH: &str = "passthrough-parser";

impl Parsers {
    /// Those of these types.
    pub fn of(types: impl IntoIterator<Item = String>) -> Self {
        Self(types.into_iter().collect())
    }

    /// How the body of a request to `path` is to be read; `None` when it is refused.
    pub fn claim(&self, path: &str) -> Option<Api> {
        let route = Route::of_path(path);
        match route.filter(|route| self.0.is_empty() || self.names(route.parser)) {
            Some(route) => Some(route.api),
            None => (self.0.is_empty() || self.names(PASSTHROUGH)).then_some(Api::Opaque),
        }
    }

    fn names(&self, parser: &str) -> bool {
        self.0.iter().any(|named| named == parser)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_refused_unless_it_may_pass() {
        let parsers = |types: &[&str]| Parsers::of(types.iter().map(|name| (*name).to_owned()));
        let (messages, counting, other) = ("/v1/messages", "/v1/messages/count_tokens", "/v1/models");
        assert_eq!(Some(Api::Messages), parsers(&[]).claim(messages));
        assert_eq!(Some(Api::Opaque), parsers(&[]).claim(counting));
        assert_eq!(Some(Api::Opaque), parsers(&[]).claim(other));
        let openai = parsers(&["openai-parser"]);
        assert_eq!(Some(Api::Chat), openai.claim("/v1/chat/completions"));
        assert_eq!(None, openai.claim(messages));
        assert_eq!(None, openai.claim(counting));
        assert_eq!(None, openai.claim(other));
        let anthropic = parsers(&["anthropic-parser"]);
        assert_eq!(Some(Api::Messages), anthropic.claim(messages));
        assert_eq!(Some(Api::Opaque), anthropic.claim(counting));
        assert_eq!(None, anthropic.claim(other));
        assert_eq!(Some(Api::Opaque), parsers(&["openai-parser", PASSTHROUGH]).claim(messages));
    }
}
