//! Limits how deeply JSON is nested.

use memchr::{memchr_iter, memchr2_iter};

use crate::error::JsonError;

/// Maximum number of nested arrays and objects: the limit that `serde_json` has for values that it builds.
///
/// It sets no limit for values that it skips or keeps raw, but the model server behind might set one, or
/// might crash.
const MAX_DEPTH: usize = 127;

/// Rejects input that is nested too deeply. The input need not be JSON.
///
/// # Errors
/// Returns [`JsonError::TooDeep`] for such input.
pub(crate) fn check_depth(json: &[u8]) -> Result<(), JsonError> {
    // Most bodies have too few brackets to be deep. Counting them runs at memory speed.
    let may_be_deep = memchr2_iter(b'[', b'{', json).nth(MAX_DEPTH).is_some();
    if may_be_deep && depth(json) > MAX_DEPTH {
        return Err(JsonError::TooDeep { limit: MAX_DEPTH });
    }
    Ok(())
}

fn depth(json: &[u8]) -> usize {
    let (mut current, mut most, mut rest) = (0_usize, 0, json);
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'"' => rest = skip_string(after),
            b'[' | b'{' => {
                current += 1;
                most = most.max(current);
            }
            b']' | b'}' => current = current.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Returns what follows the string that `rest` starts in. A quote ends it unless an odd number of backslashes
/// precedes it: texts have fewer escaped quotes than other escapes.
pub(super) fn skip_string(rest: &[u8]) -> &[u8] {
    memchr_iter(b'"', rest)
        .find(|at| rest[..*at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0)
        .map_or(&[], |at| &rest[at + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        "[".repeat(depth) + &"]".repeat(depth)
    }

    #[test]
    fn depth_limit_equals_that_of_serde_json() {
        for depth in [1, MAX_DEPTH, MAX_DEPTH + 1, 5_000] {
            let json = nested(depth);
            let built = serde_json::from_str::<serde_json::Value>(&json).is_ok();
            assert_eq!(check_depth(json.as_bytes()).is_ok(), built, "{depth}");
        }
    }

    #[test]
    fn string_ends_at_its_first_unescaped_quote() {
        for (text, rest) in [
            (r#"a" b"#, " b"),
            (r#"\\" b"#, " b"),
            (r#"\"" b"#, " b"),
            (r#"\\\"\n" b"#, " b"),
            (r#"a\" b"#, ""),
            ("a", ""),
            ("", ""),
        ] {
            assert_eq!(skip_string(text.as_bytes()), rest.as_bytes(), "{text}");
        }
    }

    #[test]
    fn siblings_and_brackets_in_strings_add_no_depth() {
        let flat = format!("[{}]", vec!["[]"; 1_000].join(","));
        assert!(check_depth(flat.as_bytes()).is_ok());
        let text = format!(r#"["\"{}","\\",{}]"#, "[".repeat(1_000), nested(100));
        assert!(check_depth(text.as_bytes()).is_ok());
        let after_text = format!(r#"["\"{}","\\",{}]"#, "[".repeat(1_000), nested(MAX_DEPTH));
        assert!(check_depth(after_text.as_bytes()).is_err());
    }
}
