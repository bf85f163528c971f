//! How deeply JSON is nested.

use memchr::{memchr2, memchr2_iter};
use serde::de::Error;

/// The most levels of arrays and objects: what `serde_json` allows where it builds something. What it skips, or
/// passes on as it stands, it does not limit; the model server behind might, or might not survive it.
const LEVELS: usize = 127;

/// Refuses what is nested too deeply. It need not be JSON.
///
/// # Errors
/// The error that `serde_json` has for this.
pub(crate) fn refuse_deep(json: &[u8]) -> Result<(), serde_json::Error> {
    // Most bodies have too few brackets to be deep, which is seen at the speed of memory.
    let may_be_deep = memchr2_iter(b'[', b'{', json).nth(LEVELS).is_some();
    if may_be_deep && levels(json) > LEVELS {
        return Err(serde_json::Error::custom("recursion limit exceeded"));
    }
    Ok(())
}

fn levels(json: &[u8]) -> usize {
    let (mut level, mut most, mut rest) = (0_usize, 0, json);
    while let [first, after @ ..] = rest {
        rest = after;
        match first {
            b'"' => rest = after_string(after),
            b'[' | b'{' => {
                level += 1;
                most = most.max(level);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// What follows the string that `rest` is in.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        "[".repeat(levels) + &"]".repeat(levels)
    }

    #[test]
    fn the_limit_is_that_of_serde_json() {
        for levels in [1, LEVELS, LEVELS + 1, 5_000] {
            let json = nested(levels);
            let built = serde_json::from_str::<serde_json::Value>(&json).is_ok();
            assert_eq!(refuse_deep(json.as_bytes()).is_ok(), built, "{levels}");
        }
    }

    #[test]
    fn brackets_side_by_side_or_in_strings_are_not_deep() {
        let flat = format!("[{}]", vec!["[]"; 1_000].join(","));
        assert!(refuse_deep(flat.as_bytes()).is_ok());
        let text = format!(r#"["\"{}","\\",{}]"#, "[".repeat(1_000), nested(100));
        assert!(refuse_deep(text.as_bytes()).is_ok());
        let after_text = format!(r#"["\"{}","\\",{}]"#, "[".repeat(1_000), nested(LEVELS));
        assert!(refuse_deep(after_text.as_bytes()).is_err());
    }
}
