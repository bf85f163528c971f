//! Reads JSON values in responses. Unlike in requests, what cannot be read says nothing.

use serde::Deserialize;

/// Returns whether a JSON value holds something: it is not `null`, and no empty string, array or object.
pub(crate) fn is_nonempty(json: &str) -> bool {
    let inside = |text: &str| text.trim_ascii_start().bytes().next();
    match json.split_at_checked(1) {
        Some(("[", rest)) => inside(rest) != Some(b']'),
        Some(("{", rest)) => inside(rest) != Some(b'}'),
        _ => !matches!(json, "null" | "\"\"" | ""),
    }
}

/// Parses an object. Without this check, a derived implementation would also accept an array.
pub(crate) fn parse_object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    let is_object = json.trim_ascii_start().starts_with(b"{");
    is_object.then(|| serde_json::from_slice(json).ok()).flatten()
}
