//! Why a body is refused.

use crate::body::MODEL_BYTES;

/// Why a body is refused; the texts are for the client.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The body of an OpenAI request is no JSON object, or a key that matters stands in it twice.
    #[error("error unmarshaling request bodyMap: {0}")]
    Json(Malformed),
    /// A completion without a prompt, with an empty one, or with one that is no string, strings or token ids.
    #[error("invalid completions request: must have prompt field")]
    NoPrompt,
    /// A chat without messages, or with messages that are no array of objects.
    #[error("invalid chat completions request: must have valid messages field")]
    NoMessages,
    /// A request for a response without an input, or with an empty one.
    #[error("invalid responses request: must have input field")]
    NoResponsesInput,
    /// A request for embeddings without an input, with an empty one, or with one that is no string, strings or
    /// token ids.
    #[error("invalid embeddings request: must have input field")]
    NoEmbeddingsInput,
    /// A conversation without items.
    #[error("invalid conversations request: must have items field")]
    NoItems,
    /// A request for an image without a prompt, with an empty one, or with one that is no string.
    #[error("invalid images generations request: must have prompt field")]
    NoImagePrompt,
    /// The body of an Anthropic request is no JSON object, or a key that matters stands in it twice.
    #[error("error unmarshaling request body: {0}")]
    MessagesJson(Malformed),
    /// The messages of an Anthropic request are no array of objects.
    #[error("error parsing messages request: {0}")]
    BadMessages(Malformed),
    /// An Anthropic request without a message.
    #[error("invalid messages request: must have at least one message")]
    NoMessage,
    /// The body of a request to vLLM or SGLang is no JSON object, or a key that matters stands in it twice.
    #[error("invalid generate request: {0}")]
    GenerateJson(Malformed),
    /// A request to vLLM without token ids.
    #[error("invalid generate request: must have non-empty token_ids field")]
    NoTokenIds,
    /// A request to vLLM whose token ids are something else.
    #[error("invalid generate request: token_ids must be an array of uint32 integers")]
    BadTokenIds,
    /// A request to SGLang without token ids.
    #[error("invalid generate request: input_ids must be provided")]
    NoInputIds,
    /// A request to SGLang whose token ids are something else.
    #[error("invalid generate request: input_ids must be an array of uint32 integers")]
    BadInputIds,
    /// A request to SGLang with no token id.
    #[error("invalid generate request: input_ids cannot be empty")]
    EmptyInputIds,
    /// A request to SGLang whose cache key is no string.
    #[error("invalid generate request: extra_key must be a string")]
    BadExtraKey,
    /// The body of a gRPC request is not one whole, uncompressed message.
    #[error("invalid or unsupported gRPC payload")]
    Grpc,
    /// A gRPC request to generate from token ids, without any.
    #[error("missing tokenized input")]
    NoTokenized,
    /// A gRPC request to embed, without token ids.
    #[error("missing tokenized input in EmbedRequest")]
    NoTokenizedToEmbed,
    /// A gRPC request to generate from what is neither token ids nor text.
    #[error("not supported request inputType")]
    NoGrpcInput,
    /// The name of a model is longer than any is.
    #[error("model in request body is longer than {MODEL_BYTES} bytes")]
    LongModel,
    /// No model, an empty one, or one that is no string.
    #[error("model not found in request body")]
    NoModel,
}

/// Why bytes are not the JSON object that they should be.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// They are no JSON, are nested too deeply, or a key that matters stands there twice.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// They are JSON, but no object.
    #[error("the body is not a JSON object")]
    NoObject,
}
