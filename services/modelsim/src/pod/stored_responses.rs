//! The responses that a pod keeps for clients that name them again.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use hashlink::LinkedHashMap;

use crate::tokenizer::ChatMessage;

/// Maximum number of responses that are kept; the oldest goes first. vLLM keeps all.
const MAX_RESPONSES: usize = 10_000;

/// A response that the pod keeps.
#[derive(Debug)]
pub(crate) struct StoredResponse {
    /// The conversation so far: what the model was shown, and its answer.
    pub(crate) messages: Vec<ChatMessage>,
    /// The response as a JSON document.
    pub(crate) document: Bytes,
}

/// The kept responses by their ids, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct StoredResponses(Mutex<LinkedHashMap<String, Arc<StoredResponse>>>);

impl StoredResponses {
    pub(crate) fn store(&self, id: String, response: StoredResponse) {
        let mut responses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        responses.insert(id, Arc::new(response));
        if responses.len() > MAX_RESPONSES {
            responses.pop_front();
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<StoredResponse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Removes a response; returns whether there was one.
    pub(crate) fn delete(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id).is_some()
    }
}
