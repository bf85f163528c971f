//! Mooncake's trace format: one JSON object a line, with `timestamp` (milliseconds), `input_length` and `output_length` (tokens) and
//! `hash_ids`, one number for each block of 512 tokens of the prompt, the last of which may be cut. A number stands for its block and
//! everything before it.

use serde::Deserialize;
use thiserror::Error;

use crate::{Item, Prompt, Segment};

/// Tokens of one block of the format.
pub const BLOCK_TOKENS: u32 = 512;

/// A line that is no request.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {problem}")]
pub struct TraceError {
    /// Which, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// It is no JSON object with the four fields.
    #[error("{0}")]
    Malformed(String),
    /// Its prompt is empty.
    #[error("input_length is 0")]
    NoInput,
    /// Its answer is empty.
    #[error("output_length is 0")]
    NoOutput,
    /// It has more or fewer blocks than its length says.
    #[error("input_length {input_tokens} takes {expected} hash_ids, but there are {found}")]
    Blocks {
        /// Length of the prompt.
        input_tokens: u32,
        /// How many blocks that makes.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// It comes after a later one.
    #[error("timestamp {found_ms} is before the {earlier_ms} of an earlier line")]
    Disordered {
        /// Of this line.
        found_ms: u64,
        /// Of one before it.
        earlier_ms: u64,
    },
    /// Its time cannot be told in microseconds.
    #[error("timestamp {0} is too great")]
    Time(u64),
}

#[derive(Deserialize)]
struct Line {
    timestamp: u64,
    input_length: u32,
    output_length: u32,
    hash_ids: Vec<u64>,
}

/// The requests of a trace, in its order. Empty lines say nothing, and neither do further fields.
///
/// # Errors
/// The first line that is no request, or is out of order.
pub fn parse(text: &str) -> Result<Vec<Item>, TraceError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let mut earlier_ms = 0;
    lines
        .map(|(at, line)| item(line, &mut earlier_ms).map_err(|problem| TraceError { line: at + 1, problem }))
        .collect()
}

fn item(text: &str, earlier_ms: &mut u64) -> Result<Item, Problem> {
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
        return Err(Problem::Blocks { input_tokens: input_length, expected, found: hash_ids.len() });
    }
    if timestamp < *earlier_ms {
        return Err(Problem::Disordered { found_ms: timestamp, earlier_ms: *earlier_ms });
    }
    *earlier_ms = timestamp;
    let at_us = timestamp.checked_mul(1_000).ok_or(Problem::Time(timestamp))?;
    let length = |at: usize| (input_length - at as u32 * BLOCK_TOKENS).min(BLOCK_TOKENS);
    let segments = hash_ids.iter().enumerate();
    let segments = segments.map(|(at, content)| Segment { content: *content, tokens: length(at) });
    Ok(Item { at_us, prompt: Prompt::new(segments), output_tokens: output_length })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"timestamp": 3, "input_length": 1100, "output_length": 5, "hash_ids": [0, 9, 4]}"#;

    #[test]
    fn a_line_is_a_request_with_its_last_block_cut() {
        let items = parse(&format!("{GOOD}\n\n{GOOD}\n")).unwrap();
        assert_eq!(items.len(), 2);
        let Item { at_us, prompt, output_tokens } = &items[0];
        assert_eq!((3_000, 5, 1_100), (*at_us, *output_tokens, prompt.tokens()));
        let last = Segment { content: 4, tokens: 76 };
        assert_eq!((3, Some(&last)), (prompt.segments().len(), prompt.segments().last()));
    }

    #[test]
    fn errors_name_the_line_and_what_is_wrong() {
        let cases = [
            ("{", "line 2: EOF while parsing"),
            (r#"{"timestamp": 3, "input_length": 1}"#, "line 2: missing field `output_length`"),
            (&GOOD.replace("1100", "0"), "line 2: input_length is 0"),
            (&GOOD.replace("\"output_length\": 5", "\"output_length\": 0"), "line 2: output_length is 0"),
            (&GOOD.replace("1100", "1600"), "line 2: input_length 1600 takes 4 hash_ids, but there are 3"),
            (&GOOD.replace("1100", "-1"), "line 2: invalid value: integer `-1`"),
            (&GOOD.replace(": 3,", ": 2,"), "line 2: timestamp 2 is before the 3 of an earlier line"),
            (&GOOD.replace(": 3,", ": 18446744073709551615,"), "line 2: timestamp 18446744073709551615 is"),
        ];
        for (line, expected) in cases {
            let error = parse(&format!("{GOOD}\n{line}")).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn equal_numbers_are_equal_prefixes() {
        let other = GOOD.replace("9, 4", "9, 5");
        let items = parse(&format!("{GOOD}\n{other}")).unwrap();
        let chains: Vec<_> = items.iter().map(|item| item.prompt.chain(64)).collect();
        let equal = chains[0].iter().zip(&chains[1]).filter(|(a, b)| a == b).count();
        assert_eq!((17, 16), (chains[0].len(), equal));
    }
}
