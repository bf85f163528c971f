//! Which APIs are spoken.

use crate::api::Api;

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

    /// How a body of `api` is to be read; `None` when it is refused.
    pub fn claim(&self, api: Api) -> Option<Api> {
        let is_named = |parser: &str| self.0.iter().any(|named| named == parser);
        match parser_of(api) {
            _ if self.0.is_empty() => Some(api),
            Some(parser) if is_named(parser) => Some(api),
            _ => is_named(PASSTHROUGH).then_some(Api::Opaque),
        }
    }
}

fn parser_of(api: Api) -> Option<&'static str> {
    Some(match api {
        Api::Completions
        | Api::Chat
        | Api::Responses
        | Api::Embeddings
        | Api::Conversations
        | Api::Images => "openai-parser",
        Api::Messages => "anthropic-parser",
        Api::VllmGenerate => "vllmhttp-parser",
        Api::SglangGenerate => "sglanghttp-parser",
        Api::VllmGrpcGenerate | Api::VllmGrpcEmbed => "vllmgrpc-parser",
        Api::Opaque => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_is_refused_unless_it_may_pass() {
        let parsers = |types: &[&str]| Parsers::of(types.iter().map(|name| (*name).to_owned()));
        assert_eq!(Some(Api::Messages), parsers(&[]).claim(Api::Messages));
        assert_eq!(Some(Api::Opaque), parsers(&[]).claim(Api::Opaque));
        let openai = parsers(&["openai-parser"]);
        assert_eq!(Some(Api::Chat), openai.claim(Api::Chat));
        assert_eq!(None, openai.claim(Api::Messages));
        assert_eq!(None, openai.claim(Api::Opaque));
        assert_eq!(Some(Api::Opaque), parsers(&["openai-parser", PASSTHROUGH]).claim(Api::Messages));
    }
}
