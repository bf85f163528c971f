//! Parses JSON bodies without copying: values are borrowed from the body.
//!
//! A body that repeats a key is rejected if the parser reads that key, in the body itself and in a message of
//! a chat: a model server would use one of the two values, and there is no telling which. Further inside, the
//! last value counts.

pub(crate) mod cursor;
mod depth;
pub(crate) mod escapes;
mod non_finite;
pub(crate) mod token_ids;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::error::JsonError;
use depth::check_depth;
pub(crate) use non_finite::with_finite_numbers;

/// Parses a body that must be an object.
///
/// # Errors
/// Returns [`JsonError`] if it is not an object in UTF-8, is nested too deeply, or repeats a key that `T` reads.
pub(crate) fn parse_object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, JsonError> {
    if body.trim_ascii().is_empty() {
        return Err(JsonError::Empty);
    }
    let text = str::from_utf8(body).map_err(JsonError::not_utf8)?;
    check_depth(body)?;
    // Input that starts like an object but is not JSON passes this check: parsing it gives a better error.
    if !body.trim_ascii_start().starts_with(b"{") {
        serde_json::from_str::<IgnoredAny>(text)?;
        return Err(JsonError::NotAnObject);
    }
    Ok(serde_json::from_str(text)?)
}

/// Deserializes a value that is present, even if it is `null`.
pub(crate) fn deserialize_present<'de, D: Deserializer<'de>>(
    value: D,
) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Parses an optional object; returns the default unless the value is an object that can be parsed.
pub(crate) fn parse_object_or_default<'a, T: Default + Deserialize<'a>>(value: Option<&'a RawValue>) -> T {
    let object = value.map(RawValue::get).filter(|text| text.starts_with('{'));
    object.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Returns the content of a value as it is written in the body: what is between the quotes of a string, with
/// escapes; the whole text of any other value; an empty string for no value.
pub(crate) fn raw_content(value: Option<&RawValue>) -> &str {
    let text = value.map_or("", RawValue::get);
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// Parses a number of tokens. Anything but a non-negative integer counts as not given.
pub(crate) fn parse_token_count(value: Option<&RawValue>) -> Option<u64> {
    value?.get().parse().ok()
}

/// Returns `text` as a JSON string, with quotes.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        prompt: Option<&'a RawValue>,
    }

    #[test]
    fn values_are_borrowed_from_the_body() {
        let body = br#" {"model":"m", "prompt" : [1, 2] ,"stream":true,"n":{"prompt":1}}"#;
        let parsed: Body<'_> = parse_object(body).unwrap();
        let prompt = raw_content(parsed.prompt);
        assert_eq!(prompt, "[1, 2]");
        assert!(body.as_ptr_range().contains(&prompt.as_ptr()));
    }

    #[test]
    fn raw_content_is_the_text_in_the_body() {
        for (json, content) in
            [(r#""a\n\"b\"""#, r#"a\n\"b\""#), (r#""""#, ""), (r#"[ "a" ]"#, r#"[ "a" ]"#), ("7", "7")]
        {
            let value: &RawValue = serde_json::from_str(json).unwrap();
            assert_eq!(raw_content(Some(value)), content);
        }
        assert_eq!(raw_content(None), "");
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
            assert_eq!(parse_token_count(Some(value)), count, "{json}");
        }
        assert_eq!(parse_token_count(None), None);
    }
}
