//! Token counts in responses, and how they are written in JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::api::Api;
use crate::response::json_value::parse_object;

/// Token counts of a request; `None` if the model server does not report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: Option<u64>,
    /// Generated tokens.
    pub completion_tokens: Option<u64>,
    /// Tokens of the prompt that were in the model server's cache.
    pub cached_tokens: Option<u64>,
}

/// The numbers of a usage as they are reported. Reports of one response are merged before they are added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct UsageParts {
    /// Tokens of the prompt; in Anthropic's format, those that were neither read from the cache nor written
    /// to it.
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) completion_tokens: Option<u64>,
    /// Tokens of the prompt that were in the cache, if the prompt's tokens include them.
    pub(crate) cached_tokens: Option<u64>,
    /// Tokens of the prompt beside `prompt_tokens` that were read from the cache, in Anthropic's format.
    cache_read_tokens: Option<u64>,
    /// Tokens of the prompt beside `prompt_tokens` that were written to the cache, in Anthropic's format.
    cache_creation_tokens: Option<u64>,
}

impl UsageParts {
    /// Merges a later report: each number that is not zero replaces the previous one, and zero only fills a
    /// gap.
    pub(crate) fn merge(&mut self, later: Self) {
        merge(&mut self.prompt_tokens, later.prompt_tokens);
        merge(&mut self.completion_tokens, later.completion_tokens);
        merge(&mut self.cached_tokens, later.cached_tokens);
        merge(&mut self.cache_read_tokens, later.cache_read_tokens);
        merge(&mut self.cache_creation_tokens, later.cache_creation_tokens);
    }

    /// Adds up the numbers.
    pub(crate) fn total(&self) -> Usage {
        let beside = [self.cache_read_tokens, self.cache_creation_tokens].into_iter().flatten();
        let add = |tokens: u64| beside.fold(tokens, u64::saturating_add);
        Usage {
            prompt_tokens: self.prompt_tokens.map(add),
            completion_tokens: self.completion_tokens,
            cached_tokens: self.cached_tokens.or(self.cache_read_tokens),
        }
    }
}

fn merge(known: &mut Option<u64>, later: Option<u64>) {
    if known.is_none() || later.is_some_and(|tokens| tokens != 0) {
        *known = later.or(*known);
    }
}

/// The top-level key of the usage in all responses except SGLang's.
pub(crate) const USAGE_KEY: &str = "usage";

/// Returns the top-level key of the usage in responses of `api`.
pub(crate) fn usage_key(api: Api) -> &'static str {
    match api {
        Api::Generate | Api::GenerateStream => "meta_info",
        _ => USAGE_KEY,
    }
}

/// All fields that may occur in a usage object.
#[derive(Deserialize)]
struct UsageFields<'a> {
    #[serde(borrow)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cached_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Option<&'a RawValue>,
}

/// Parses a usage object; returns an empty usage for anything else.
pub(crate) fn parse_usage(json: &[u8]) -> UsageParts {
    parse_object::<UsageFields<'_>>(json).map(|fields| fields.usage()).unwrap_or_default()
}

/// Parses SGLang's usage in an event, which counts only with the finish reason.
pub(crate) fn parse_last_meta_info(json: &[u8]) -> UsageParts {
    let last = parse_object::<UsageFields<'_>>(json).filter(|fields| fields.finish_reason.is_some());
    last.map(|fields| fields.usage()).unwrap_or_default()
}

impl UsageFields<'_> {
    fn usage(&self) -> UsageParts {
        let details = self.prompt_tokens_details.or(self.input_tokens_details);
        let details = details.and_then(|details| parse_object::<Details<'_>>(details.get().as_bytes()));
        let cached = details.and_then(|details| details.cached_tokens);
        UsageParts {
            prompt_tokens: tokens(self.prompt_tokens).or_else(|| tokens(self.input_tokens)),
            completion_tokens: tokens(self.completion_tokens).or_else(|| tokens(self.output_tokens)),
            cached_tokens: tokens(cached).or_else(|| tokens(self.cached_tokens)),
            cache_read_tokens: tokens(self.cache_read_input_tokens),
            cache_creation_tokens: tokens(self.cache_creation_input_tokens),
        }
    }
}

/// Parses a number of tokens, which may be quoted or have a zero fraction.
fn tokens(value: Option<&RawValue>) -> Option<u64> {
    let text = value?.get().trim_matches('"');
    let float = || text.parse().ok().filter(|tokens: &f64| tokens.is_finite() && *tokens >= 0.0);
    text.parse().ok().or_else(|| float().map(|tokens| tokens as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(prompt: u64, completion: u64, cached: u64) -> Usage {
        Usage {
            prompt_tokens: Some(prompt),
            completion_tokens: Some(completion),
            cached_tokens: Some(cached),
        }
    }

    #[test]
    fn all_usage_formats_are_parsed() {
        for json in [
            r#"{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":3}}"#,
            r#"{"input_tokens":5,"output_tokens":7,"input_tokens_details":{"cached_tokens":3}}"#,
            r#"{"prompt_tokens":"5","completion_tokens":7.0,"cached_tokens":"3","finish_reason":null}"#,
        ] {
            assert_eq!(parse_usage(json.as_bytes()).total(), usage(5, 7, 3), "{json}");
        }
        for json in ["null", "[1,2,3]", "7", "{}", r#"{"prompt_tokens":-1}"#, r#"{"prompt_tokens":[1]}"#] {
            assert_eq!(parse_usage(json.as_bytes()).total(), Usage::default(), "{json}");
        }
    }

    #[test]
    fn prompt_of_anthropic_includes_what_the_cache_read_and_wrote() {
        let json = r#"{"input_tokens":5,"output_tokens":7,"cache_read_input_tokens":30,"cache_creation_input_tokens":200}"#;
        let mut merged = parse_usage(json.as_bytes());
        assert_eq!(merged.total(), usage(235, 7, 30));
        // A later report may repeat some of the numbers.
        merged.merge(parse_usage(br#"{"input_tokens":5,"output_tokens":9}"#));
        assert_eq!(merged.total(), usage(235, 9, 30));
    }

    #[test]
    fn later_usage_replaces_earlier_unless_zero() {
        let mut merged = UsageParts::default();
        merged.merge(UsageParts { prompt_tokens: Some(5), cached_tokens: Some(0), ..UsageParts::default() });
        merged.merge(UsageParts {
            prompt_tokens: Some(0),
            completion_tokens: Some(1),
            ..UsageParts::default()
        });
        merged.merge(UsageParts { completion_tokens: Some(7), ..UsageParts::default() });
        assert_eq!(merged.total(), usage(5, 7, 0));
    }
}
