//! One prompt whose output is being generated.

use super::error::ApiError;
use crate::engine::{AdapterId, ModelConfig, RequestId, Usage};
use crate::pod::{Incarnation, PodStopped, Progress, RequestHandle, Stage};
use crate::tokenizer::{EncodedPrompt, answer};

/// A prompt whose output is being generated.
pub(super) struct Generation {
    request: RequestHandle,
    /// Fingerprint of the prompt, which determines the output text.
    fingerprint: u64,
}

impl Generation {
    /// Submits a prompt to the engine.
    ///
    /// # Errors
    /// The engine does not take it.
    pub(super) async fn submit(
        model: &ModelConfig,
        incarnation: &Incarnation,
        prompt: &EncodedPrompt,
        (adapter, max_output_tokens): (Option<AdapterId>, Option<u32>),
    ) -> Result<Self, ApiError> {
        let answer_tokens = model.longest_output_tokens(prompt.token_count, max_output_tokens);
        let chain = prompt.chain_with_answer(answer_tokens, model.block_size_tokens);
        let request = incarnation.engine.submit(prompt, chain, adapter, max_output_tokens).await?;
        Ok(Self { request, fingerprint: prompt.fingerprint })
    }

    /// Returns the number of the request in the engine.
    pub(super) fn request_id(&self) -> RequestId {
        self.request.id()
    }

    /// Waits until more than `sent_tokens` tokens are produced or the request has finished.
    pub(super) async fn wait_for_tokens(&mut self, sent_tokens: u32) -> Result<Progress, PodStopped> {
        let has_news = |progress: &Progress| {
            progress.produced_tokens > sent_tokens || matches!(progress.stage, Stage::Finished(_))
        };
        self.request.wait_for(has_news).await
    }

    /// Waits until the request has finished.
    pub(super) async fn finished(&mut self) -> Result<Usage, PodStopped> {
        self.request.finished().await
    }

    /// Returns the text of output tokens `from..to`.
    pub(super) fn text(&self, from: u32, to: u32) -> String {
        answer::text(self.fingerprint, from, to)
    }
}
