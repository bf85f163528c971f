//! Why a body is refused.

/// Why a body is refused; the texts are for the client.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The body is no JSON, or a key that matters stands in it twice.
    #[error("error unmarshaling request bodyMap: {0}")]
    Json(#[from] serde_json::Error),
    /// The body is JSON, but no object.
    #[error("error unmarshaling request bodyMap: the body is not a JSON object")]
    NoObject,
    /// A completion without a prompt, with an empty one, or with one that is neither string nor array.
    #[error("invalid completions request: must have prompt field")]
    NoPrompt,
    /// A chat without messages, or with messages that are no array of objects.
    #[error("invalid chat completions request: must have valid messages field")]
    NoMessages,
    /// No model, an empty one, or one that is no string.
    #[error("model not found in request body")]
    NoModel,
}
