//! The parts of a body that are read, borrowed from it as they stand.
//!
//! A key that is read and stands in a body twice is an error: a model server would take one of the two, and
//! nobody can say which.

use serde::Deserialize;
use serde_json::value::RawValue;

/// A body of the completions API.
#[derive(Deserialize)]
pub(crate) struct CompletionBody<'a> {
    #[serde(borrow)]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_tokens: Option<&'a RawValue>,
}

/// A body of the chat completions API; `M` is what its messages are read as.
#[derive(Deserialize)]
#[serde(bound(deserialize = "M: Deserialize<'de>"))]
pub(crate) struct ChatBody<'a, M> {
    #[serde(borrow)]
    pub(crate) model: Option<&'a RawValue>,
    pub(crate) messages: Option<M>,
    #[serde(borrow)]
    pub(crate) stream: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) max_tokens: Option<&'a RawValue>,
}

/// What a value says, in the bytes of the body: of a string what stands between the quotes, escapes and all;
/// of anything else the whole value; of no value nothing.
pub(crate) fn raw_content(value: Option<&RawValue>) -> &[u8] {
    let text = value.map_or("", RawValue::get);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).as_bytes()
}

/// The value as a number of tokens; anything but a non-negative integer counts as not given.
pub(crate) fn token_count(value: Option<&RawValue>) -> Option<u64> {
    value?.get().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_copied() {
        let body = br#" {"model":"m", "prompt" : [1, 2] ,"stream":true,"n":{"prompt":1}}"#;
        let parsed: CompletionBody<'_> = serde_json::from_slice(body).unwrap();
        let prompt = raw_content(parsed.prompt);
        assert_eq!(prompt, b"[1, 2]");
        assert!(body.as_ptr_range().contains(&prompt.as_ptr()));
    }

    #[test]
    fn raw_content_is_what_stands_in_the_body() {
        for (json, content) in
            [(r#""a\n\"b\"""#, r#"a\n\"b\""#), (r#""""#, ""), (r#"[ "a" ]"#, r#"[ "a" ]"#), ("7", "7")]
        {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(raw_content(Some(value)), content.as_bytes());
        }
        assert_eq!(raw_content(None), b"");
    }

    #[test]
    fn only_non_negative_integers_are_token_counts() {
        for (json, count) in [
            ("0", Some(0)),
            ("16", Some(16)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("-1", None),
            ("1.5", None),
            ("\"16\"", None),
            ("[16]", None),
            ("true", None),
        ] {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(token_count(Some(value)), count, "{json}");
        }
        assert_eq!(token_count(None), None);
    }
}
