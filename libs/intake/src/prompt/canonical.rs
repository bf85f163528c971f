//! Reads JSON as a sequence of tokens that does not depend on how it is written: whitespace is left out and
//! strings keep their escapes only until they are hashed.

use crate::json::cursor::{Cursor, unquoted};
use crate::json::escapes::{Pieces, decodes_to};
use crate::prompt::marks::{ARRAY, ARRAY_END, END, OBJECT, OBJECT_END, SCALAR};

/// The member by which clients of Anthropic's API mark what to cache. Engines ignore it.
const CACHE_MARK: &str = "cache_control";

/// A token of a JSON value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// Begins or ends an array or object.
    Bracket(u8),
    /// The key of a member, with escapes.
    Key(&'a str),
    /// The content of a string, with escapes.
    Text(&'a str),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a str),
}

/// Passes the tokens of `json`, a valid value, to `each`.
///
/// Members called `cache_control` are left out of objects that are nested at most `cache_mark_depth` deep;
/// `json` itself is at depth 1. Deeper inside, that name can be a client's own.
pub(crate) fn read_tokens<'a>(json: &'a str, cache_mark_depth: usize, mut each: impl FnMut(Token<'a>)) {
    let (mut cursor, mut depth) = (Cursor::new(json), 0_usize);
    while let Some(first) = cursor.peek() {
        match first {
            b'[' | b'{' => {
                depth += 1;
                each(Token::Bracket(if first == b'[' { ARRAY } else { OBJECT }));
                cursor.skip_bracket();
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                each(Token::Bracket(if first == b']' { ARRAY_END } else { OBJECT_END }));
                cursor.skip_bracket();
            }
            b'"' => {
                let text = cursor.value();
                let text = unquoted(text).unwrap_or(text);
                if !cursor.is_after_key() {
                    each(Token::Text(text));
                } else if depth <= cache_mark_depth && decodes_to(text, CACHE_MARK) {
                    cursor.value();
                } else {
                    each(Token::Key(text));
                }
            }
            _ => each(Token::Scalar(cursor.value())),
        }
    }
}

impl Token<'_> {
    /// Passes the bytes of the token in a hashed prompt to `write`, in pieces.
    pub(crate) fn write_to(self, mut write: impl FnMut(&[u8])) {
        match self {
            Self::Bracket(mark) => write(&[mark]),
            Self::Key(text) | Self::Text(text) => {
                Pieces::new(text).for_each(|piece| write(piece.as_bytes()));
                write(&[END]);
            }
            Self::Scalar(text) => {
                write(&[SCALAR]);
                write(text.as_bytes());
                write(&[END]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(json: &str, cache_mark_depth: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        read_tokens(json, cache_mark_depth, |token| token.write_to(|piece| bytes.extend_from_slice(piece)));
        bytes
    }

    #[test]
    fn how_a_value_is_written_makes_no_difference() {
        let compact = "{\"a\":[1,\"\u{4e2d}\",{\"b\":null}],\"c\":\"d\"}";
        let spaced = "{ \"\\u0061\" : [1, \"\\u4e2d\",\n {\"b\": null} ] , \"c\": \"d\" }";
        assert_eq!(hashed(compact, 0), hashed(spaced, 0));
    }

    #[test]
    fn different_values_differ() {
        let values = [
            "null",
            "\"null\"",
            "7",
            "\"7\"",
            "[]",
            "{}",
            "[[]]",
            "[[],[]]",
            "[7]",
            r#"["7"]"#,
            r#"["a","b"]"#,
            r#"[["a"],"b"]"#,
            r#"{"a":"b"}"#,
            r#"["ab"]"#,
            r#"["a\u001fb"]"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            r#"["a\",\"b"]"#,
        ];
        for (at, one) in values.iter().enumerate() {
            assert!(values[..at].iter().all(|other| hashed(one, 0) != hashed(other, 0)), "{one}");
        }
    }

    #[test]
    fn cache_marks_are_left_out_down_to_a_depth() {
        let marked =
            r#"[{"name":"f","cache_control":{"type":"ephemeral"},"p":{"cache_control":{"type":"x"}}}]"#;
        let plain = r#"[{"name":"f","p":{"cache_control":{"type":"x"}}}]"#;
        assert_eq!(hashed(marked, 2), hashed(plain, 2));
        assert_ne!(hashed(marked, 1), hashed(plain, 1));
        assert_eq!(hashed(marked, 3), hashed(r#"[{"name":"f","p":{}}]"#, 3));
        assert_eq!(hashed(r#"["cache_control"]"#, 3), hashed(r#"["cache_control"]"#, 0));
    }
}
