//! The responses that a pod keeps for clients that name them again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use hashlink::LinkedHashMap;

use crate::tokenizer::ChatMessage;

/// Maximum number of responses that are kept; the oldest goes first. vLLM keeps all.
const MAX_RESPONSES: usize = 10_000;

/// Maximum number of bytes that the kept responses take; the oldest goes first, but the newest is always kept. A response
/// repeats the conversation before it.
const MAX_BYTES: usize = 64 << 20;

/// A response that the pod keeps.
#[derive(Debug)]
pub(crate) struct StoredResponse {
    /// The conversation so far: what the model was shown, and its answer.
    pub(crate) messages: Vec<ChatMessage>,
    /// The response as a JSON document.
    pub(crate) document: Bytes,
}

impl StoredResponse {
    /// Returns how many bytes of text it has.
    fn bytes(&self) -> usize {
        let messages = self.messages.iter().map(|message| message.role.len() + message.text.len());
        self.document.len() + messages.sum::<usize>()
    }
}

/// The responses that a pod keeps.
#[derive(Debug, Default)]
pub(crate) struct StoredResponses(Mutex<ById>);

/// The kept responses by their ids, the oldest first.
#[derive(Debug, Default)]
struct ById {
    responses: LinkedHashMap<String, Arc<StoredResponse>>,
    /// Bytes of all of them.
    bytes: usize,
}

impl StoredResponses {
    pub(crate) fn store(&self, id: String, response: StoredResponse) {
        self.lock().store(id, response);
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<StoredResponse>> {
        self.lock().responses.get(id).cloned()
    }

    /// Removes a response; returns whether there was one.
    pub(crate) fn delete(&self, id: &str) -> bool {
        self.lock().remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, ById> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ById {
    fn store(&mut self, id: String, response: StoredResponse) {
        self.remove(&id);
        self.bytes += response.bytes();
        self.responses.insert(id, Arc::new(response));
        while self.responses.len() > MAX_RESPONSES || (self.bytes > MAX_BYTES && self.responses.len() > 1) {
            let Some((_, oldest)) = self.responses.pop_front() else { break };
            self.bytes -= oldest.bytes();
        }
    }

    fn remove(&mut self, id: &str) -> bool {
        let removed = self.responses.remove(id);
        self.bytes -= removed.as_ref().map_or(0, |response| response.bytes());
        removed.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIRD: usize = MAX_BYTES / 3;

    /// A response whose texts take so many bytes, half of them in its messages.
    fn response(bytes: usize) -> StoredResponse {
        let message = ChatMessage { role: String::new(), text: "x".repeat(bytes / 2) };
        StoredResponse { messages: vec![message], document: vec![b'x'; bytes - bytes / 2].into() }
    }

    fn kept(responses: &StoredResponses, ids: &[&str]) -> Vec<bool> {
        ids.iter().map(|id| responses.get(id).is_some()).collect()
    }

    #[test]
    fn the_oldest_go_when_the_texts_take_too_many_bytes() {
        let responses = StoredResponses::default();
        for id in ["a", "b", "c", "d"] {
            responses.store(id.to_owned(), response(THIRD));
        }
        assert_eq!(vec![false, true, true, true], kept(&responses, &["a", "b", "c", "d"]));
        responses.store("large".to_owned(), response(MAX_BYTES + 1));
        assert_eq!(vec![false, true], kept(&responses, &["d", "large"]), "the newest is always kept");
    }

    #[test]
    fn deleted_and_replaced_responses_take_no_bytes() {
        let responses = StoredResponses::default();
        responses.store("a".to_owned(), response(THIRD));
        for _ in 0..9 {
            responses.store("b".to_owned(), response(THIRD));
            responses.store("deleted".to_owned(), response(THIRD));
            assert!(responses.delete("deleted") && !responses.delete("deleted"));
        }
        assert_eq!(vec![true, true], kept(&responses, &["a", "b"]));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let responses = StoredResponses::default();
        for number in 0..=MAX_RESPONSES {
            responses.store(number.to_string(), response(2));
        }
        assert_eq!(vec![false, true], kept(&responses, &["0", "1"]));
    }
}
