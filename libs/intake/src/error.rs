//! Errors of request parsing.

/// Why a request body is rejected. The messages are written for the client.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The body of an OpenAI request is not a JSON object, or repeats a key that the parser reads.
    #[error("error unmarshaling request bodyMap: {0}")]
    InvalidJson(JsonError),
    /// The prompt of a completion is missing, empty, or neither a string, strings nor token ids.
    #[error("invalid completions request: must have prompt field")]
    MissingPrompt,
    /// The messages of a chat are missing, empty, or not an array of objects.
    #[error("invalid chat completions request: must have valid messages field")]
    MissingMessages,
    /// The input of a responses request is missing or empty.
    #[error("invalid responses request: must have input field")]
    MissingResponsesInput,
    /// The input of an embeddings request is missing, empty, or neither a string, strings nor token ids.
    #[error("invalid embeddings request: must have input field")]
    MissingEmbeddingsInput,
    /// The items of a conversation are missing, empty, or not an array.
    #[error("invalid conversations request: must have items field")]
    MissingItems,
    /// The prompt of an image request is missing, empty, or not a string.
    #[error("invalid images generations request: must have prompt field")]
    MissingImagePrompt,
    /// The body of an Anthropic request is not a JSON object, or repeats a key that the parser reads.
    #[error("error unmarshaling request body: {0}")]
    InvalidAnthropicJson(JsonError),
    /// The messages of an Anthropic request are not an array of objects.
    #[error("error parsing messages request: {0}")]
    InvalidAnthropicMessages(JsonError),
    /// The messages of an Anthropic request are missing or empty.
    #[error("invalid messages request: must have at least one message")]
    MissingAnthropicMessages,
    /// The body of a request to vLLM or SGLang is not a JSON object, or repeats a key that the parser reads.
    #[error("invalid generate request: {0}")]
    InvalidGenerateJson(JsonError),
    /// The token ids of a request to vLLM are missing or empty.
    #[error("invalid generate request: must have non-empty token_ids field")]
    MissingTokenIds,
    /// The token ids of a request to vLLM are not an array of `u32`.
    #[error("invalid generate request: token_ids must be an array of uint32 integers")]
    InvalidTokenIds,
    /// The token ids of a request to SGLang are missing.
    #[error("invalid generate request: input_ids must be provided")]
    MissingInputIds,
    /// The token ids of a request to SGLang are not an array of `u32`.
    #[error("invalid generate request: input_ids must be an array of uint32 integers")]
    InvalidInputIds,
    /// The token ids of a request to SGLang are an empty array.
    #[error("invalid generate request: input_ids cannot be empty")]
    EmptyInputIds,
    /// The cache key of a request to SGLang is not a string.
    #[error("invalid generate request: extra_key must be a string")]
    InvalidExtraKey,
    /// The body of a gRPC request is not exactly one complete, uncompressed message.
    #[error("invalid or unsupported gRPC payload")]
    InvalidGrpcPayload,
    /// The prompt of a gRPC generation request is empty.
    #[error("missing tokenized input")]
    MissingTokenizedInput,
    /// A gRPC embedding request has no token ids.
    #[error("missing tokenized input in EmbedRequest")]
    MissingEmbedInput,
    /// The input of a gRPC generation request is neither token ids nor text.
    #[error("not supported request inputType")]
    UnsupportedGrpcInput,
    /// The name of the model is too long.
    #[error("model in request body is longer than {limit_bytes} bytes")]
    ModelTooLong {
        /// Maximum length of the name in bytes.
        limit_bytes: usize,
    },
    /// The model is missing, empty, or not a string.
    #[error("model not found in request body")]
    MissingModel,
}

/// Why bytes are not the expected JSON object.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// They are not JSON, are nested too deeply, or repeat a key that the parser reads.
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
    /// They are JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}
