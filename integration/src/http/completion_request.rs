//! Builds completion requests for model servers.

use bytes::Bytes;

/// The model that all pods serve. Its name is short so that a whole request fits into 30 bytes.
pub const MODEL: &str = "m";

/// The format of the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// One JSON document.
    Document,
    /// Server-sent events.
    Events,
}

/// A request for a completion.
#[derive(Clone, Copy, Debug)]
pub struct CompletionRequest {
    /// Determines the text of the prompt. Prompts of different topics share no block.
    pub topic: u64,
    /// The length of the body, in bytes.
    pub bytes: usize,
    /// The number of tokens to generate; `None` leaves it to the pod.
    pub max_tokens: Option<u32>,
    /// The format of the response.
    pub format: ResponseFormat,
}

impl CompletionRequest {
    /// Returns a small request for a small response.
    pub fn small(topic: u64) -> Self {
        Self { topic, bytes: 300, max_tokens: Some(4), format: ResponseFormat::Document }
    }

    /// Returns the body: exactly `bytes` long, or as short as possible if that is longer.
    pub fn body(&self) -> Bytes {
        let stream = match self.format {
            ResponseFormat::Document => "",
            ResponseFormat::Events => r#","stream":true"#,
        };
        let max_tokens =
            self.max_tokens.map(|tokens| format!(r#","max_tokens":{tokens}"#)).unwrap_or_default();
        let (head, tail) =
            (format!(r#"{{"model":"{MODEL}","prompt":""#), format!(r#""{max_tokens}{stream}}}"#));
        let room_bytes = self.bytes.saturating_sub(head.len() + tail.len()).max(1);
        [head.as_bytes(), &random_text(self.topic, room_bytes), tail.as_bytes()].concat().into()
    }
}

/// Returns pseudo-random lower-case letters. Texts of different topics share no block.
pub fn random_text(topic: u64, bytes: usize) -> Vec<u8> {
    let word = |index: usize| xxhash_rust::xxh3::xxh3_64_with_seed(&index.to_le_bytes(), topic).to_le_bytes();
    let letters = (0..bytes.div_ceil(8)).flat_map(|index| word(index).map(|byte| b'a' + byte % 26));
    letters.take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::{CompletionRequest, ResponseFormat};

    #[test]
    fn bodies_are_as_long_as_asked_for() {
        let request = |bytes, max_tokens, format| CompletionRequest { topic: 1, bytes, max_tokens, format };
        assert_eq!(request(30, None, ResponseFormat::Document).body().len(), 30);
        assert_eq!(request(300_000, Some(4), ResponseFormat::Events).body().len(), 300_000);
        assert_ne!(CompletionRequest::small(1).body(), CompletionRequest::small(2).body());
    }
}
