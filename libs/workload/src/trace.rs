//! Parses Mooncake's trace format. Each line is a JSON object with `timestamp` (milliseconds), `input_length`
//! and `output_length` (tokens) and `hash_ids`: one number per block of 512 prompt tokens, of which the last
//! may be partial. A number identifies its block and everything before it.
//!
//! A trace does not say where messages begin. The first of several blocks counts as the system prompt and the
//! others as one message of the user, answers to earlier requests included: their text is not that of an answer
//! of the replay.

use serde::Deserialize;
use thiserror::Error;

use crate::{Author, Item, Prompt, Segment};

/// Tokens per block of the format.
pub const BLOCK_TOKENS: u32 = 512;

/// An invalid line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// Number of the line, counted from 1.
    pub line: usize,
    /// The problem of the line.
    pub problem: Problem,
}

/// The problem of a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The line is not a JSON object with the four fields.
    #[error("{0}")]
    Malformed(String),
    /// The prompt is empty.
    #[error("input_length is 0")]
    NoInput,
    /// The output is empty.
    #[error("output_length is 0")]
    NoOutput,
    /// The number of blocks does not match the length of the prompt.
    #[error("input_length {input_tokens} requires {expected} hash_ids, found {found}")]
    BlockCount {
        /// Length of the prompt.
        input_tokens: u32,
        /// Number of blocks for that length.
        expected: usize,
        /// Number of blocks in the line.
        found: usize,
    },
    /// The timestamp is before that of an earlier line.
    #[error("timestamp {found_ms} is before the {earlier_ms} of an earlier line")]
    OutOfOrder {
        /// Timestamp of this line.
        found_ms: u64,
        /// Timestamp of an earlier line.
        earlier_ms: u64,
    },
    /// The timestamp overflows when converted to microseconds.
    #[error("timestamp {0} is too large")]
    TimestampTooLarge(u64),
}

#[derive(Deserialize)]
struct Line {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// Parses the requests of a trace. Ignores empty lines and unknown fields.
///
/// # Errors
/// Returns the first line that is invalid or out of order.
pub fn parse(text: &str) -> Result<Vec<Item>, TraceError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut earlier_ms = 0;
    lines
        .map(|(at, line)| {
            item(line, at as u64, &mut earlier_ms).map_err(|problem| TraceError { line: at + 1, problem })
        })
        .collect()
}

fn item(text: &str, answer: u64, earlier_ms: &mut u64) -> Result<Item, Problem> {
    let malformed = |error: serde_json::Error| Problem::Malformed(error.to_string());
    let Line { timestamp, input_length, output_length, hash_ids } =
        serde_json::from_str(text).map_err(malformed)?;
    if input_length == 0 {
        return Err(Problem::NoInput);
    }
    if output_length == 0 {
        return Err(Problem::NoOutput);
    }
    let expected = input_length.div_ceil(BLOCK_TOKENS) as usize;
    if hash_ids.len() != expected {
        return Err(Problem::BlockCount { input_tokens: input_length, expected, found: hash_ids.len() });
    }
    if timestamp < *earlier_ms {
        return Err(Problem::OutOfOrder { found_ms: timestamp, earlier_ms: *earlier_ms });
    }
    *earlier_ms = timestamp;
    let at_us = timestamp.checked_mul(1_000).ok_or(Problem::TimestampTooLarge(timestamp))?;
    let length = |at: usize| (input_length - at as u32 * BLOCK_TOKENS).min(BLOCK_TOKENS);
    let author = |at: usize| if at == 0 && expected > 1 { Author::System } else { Author::User };
    let segments = hash_ids.iter().enumerate();
    let segments =
        segments.map(|(at, content)| Segment { author: author(at), content: *content, tokens: length(at) });
    Ok(Item { at_us, prompt: Prompt::new(segments), output_tokens: output_length, answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID_LINE: &str =
        r#"{"timestamp": 3, "input_length": 1100, "output_length": 5, "hash_ids": [0, 9, 4]}"#;

    #[test]
    fn line_is_a_request_whose_last_block_may_be_partial() {
        let items = parse(&format!("{VALID_LINE}\n\n{VALID_LINE}\n")).unwrap();
        assert_eq!(items.len(), 2);
        let Item { at_us, prompt, output_tokens, answer: _ } = &items[0];
        assert_eq!((3_000, 5, 1_100), (*at_us, *output_tokens, prompt.tokens()));
        let last = Segment { author: Author::User, content: 4, tokens: 76 };
        assert_eq!((3, Some(&last)), (prompt.segments().len(), prompt.segments().last()));
    }

    #[test]
    fn errors_name_the_line_and_the_problem() {
        let cases = [
            ("{", "line 2: EOF while parsing"),
            (r#"{"timestamp": 3, "input_length": 1}"#, "line 2: missing field `output_length`"),
            (&VALID_LINE.replace("1100", "0"), "line 2: input_length is 0"),
            (
                &VALID_LINE.replace("\"output_length\": 5", "\"output_length\": 0"),
                "line 2: output_length is 0",
            ),
            (&VALID_LINE.replace("1100", "1600"), "line 2: input_length 1600 requires 4 hash_ids, found 3"),
            (&VALID_LINE.replace("1100", "-1"), "line 2: invalid value: integer `-1`"),
            (&VALID_LINE.replace(": 3,", ": 2,"), "line 2: timestamp 2 is before the 3 of an earlier line"),
            (
                &VALID_LINE.replace(": 3,", ": 18446744073709551615,"),
                "line 2: timestamp 18446744073709551615 is",
            ),
        ];
        for (line, expected) in cases {
            let error = parse(&format!("{VALID_LINE}\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn equal_hash_ids_are_equal_prefixes() {
        let other = VALID_LINE.replace("9, 4", "9, 5");
        let items = parse(&format!("{VALID_LINE}\n{other}")).unwrap();
        let segments: Vec<_> = items.iter().map(|item| item.prompt.segments()).collect();
        assert_eq!(segments[0][..2], segments[1][..2]);
        assert_ne!(segments[0][2], segments[1][2]);
    }
}
