//! Requests with prompts made of blocks.

use bytes::Bytes;
use signalbox_integration::{MODEL, text};

/// Bytes in a block of prompt.
pub(crate) const BLOCK_BYTES: usize = 256;

/// Topics of conversations: a topic with a number below it is a stretch of text that nothing else has.
const CONVERSATIONS: u64 = 1 << 32;

/// The body of a request whose prompt is a conversation's first blocks, then new ones of a topic that is the request's own.
pub(crate) fn body(conversation: u64, known_blocks: usize, request: u64, new_blocks: usize) -> Bytes {
    let known = text(conversation % CONVERSATIONS, known_blocks * BLOCK_BYTES);
    let new = text(CONVERSATIONS + request, new_blocks * BLOCK_BYTES);
    let (head, tail) = (format!(r#"{{"model":"{MODEL}","prompt":""#), r#"","max_tokens":16,"stream":true}"#);
    [head.as_bytes(), &known, &new, tail.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn prompts_of_a_conversation_begin_alike() {
        let common = |one: &[u8], other: &[u8]| {
            one.iter().zip(other).take_while(|(one, other)| one == other).count() / 256
        };
        assert_eq!(common(&body(1, 8, 1, 8), &body(1, 8, 2, 8)), 8);
        assert_eq!(common(&body(1, 8, 1, 8), &body(2, 8, 1, 8)), 0);
        assert_eq!(body(1, 8, 1, 0), body(1, 8, 2, 0));
    }
}
