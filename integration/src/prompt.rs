//! Requests to model servers.

use bytes::Bytes;

/// The model that all pods of a site serve. Short, so that a whole request fits into 30 bytes.
pub const MODEL: &str = "m";

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As one JSON document.
    Whole,
    /// As server-sent events.
    Events,
}

/// A request for a completion.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// Decides the text of the prompt; two different ones share no block of it.
    pub topic: u64,
    /// Length of the body.
    pub bytes: usize,
    /// Tokens to generate; `None` leaves it to the pod.
    pub max_tokens: Option<u32>,
    /// How the answer is asked for.
    pub delivery: Delivery,
}

impl Ask {
    /// A small request with a small answer.
    pub fn small(topic: u64) -> Self {
        Self { topic, bytes: 300, max_tokens: Some(4), delivery: Delivery::Whole }
    }

    /// The body: exactly as long as asked for, or as short as it can be.
    pub fn body(&self) -> Bytes {
        let stream = match self.delivery {
            Delivery::Whole => "",
            Delivery::Events => r#","stream":true"#,
        };
        let max_tokens =
            self.max_tokens.map(|tokens| format!(r#","max_tokens":{tokens}"#)).unwrap_or_default();
        let (head, tail) =
            (format!(r#"{{"model":"{MODEL}","prompt":""#), format!(r#""{max_tokens}{stream}}}"#));
        let room_bytes = self.bytes.saturating_sub(head.len() + tail.len()).max(1);
        [head.as_bytes(), &text(self.topic, room_bytes), tail.as_bytes()].concat().into()
    }
}

/// Lower-case letters without a pattern; two topics share no block of them.
pub fn text(topic: u64, bytes: usize) -> Vec<u8> {
    let word = |index: usize| xxhash_rust::xxh3::xxh3_64_with_seed(&index.to_le_bytes(), topic).to_le_bytes();
    let letters = (0..bytes.div_ceil(8)).flat_map(|index| word(index).map(|byte| b'a' + byte % 26));
    letters.take(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::{Ask, Delivery};

    #[test]
    fn bodies_are_as_long_as_asked_for() {
        let ask = |bytes, max_tokens, delivery| Ask { topic: 1, bytes, max_tokens, delivery };
        assert_eq!(ask(30, None, Delivery::Whole).body().len(), 30);
        assert_eq!(ask(300_000, Some(4), Delivery::Events).body().len(), 300_000);
        assert_ne!(Ask::small(1).body(), Ask::small(2).body());
    }
}
