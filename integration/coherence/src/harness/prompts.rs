//! Request bodies with prompts that consist of blocks.

use bytes::Bytes;
use signalbox_integration::{MODEL, random_text};

/// Bytes per prompt block.
pub(crate) const BLOCK_BYTES: usize = 256;

/// Topics below this number are those of conversations. Each topic is a text that shares nothing with the
/// others.
const CONVERSATIONS: u64 = 1 << 32;

/// Returns the body of a request whose prompt consists of a conversation's first blocks, followed by new
/// blocks of the request's own topic.
pub(crate) fn body(conversation: u64, known_blocks: usize, request: u64, new_blocks: usize) -> Bytes {
    let known = random_text(conversation % CONVERSATIONS, known_blocks * BLOCK_BYTES);
    let new = random_text(CONVERSATIONS + request, new_blocks * BLOCK_BYTES);
    let (head, tail) = (format!(r#"{{"model":"{MODEL}","prompt":""#), r#"","max_tokens":16,"stream":true}"#);
    [head.as_bytes(), &known, &new, tail.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::body;

    #[test]
    fn prompts_of_a_conversation_share_their_known_blocks() {
        let common = |one: &[u8], other: &[u8]| {
            one.iter().zip(other).take_while(|(one, other)| one == other).count() / 256
        };
        assert_eq!(common(&body(1, 8, 1, 8), &body(1, 8, 2, 8)), 8);
        assert_eq!(common(&body(1, 8, 1, 8), &body(2, 8, 1, 8)), 0);
        assert_eq!(body(1, 8, 1, 0), body(1, 8, 2, 0));
    }
}
