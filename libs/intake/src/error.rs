//! Errors of request parsing.

use serde_json::error::Category;

/// Why a request body is rejected: no engine could take it. The messages are written for the client.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// The body of an OpenAI request is not a JSON object, or repeats a key that the parser reads.
    #[error("error unmarshaling request bodyMap: {0}")]
    InvalidJson(JsonError),
    /// The prompt of a completion is missing or empty, or a number or a list of numbers that are no token ids.
    #[error("invalid completions request: must have prompt field")]
    MissingPrompt,
    /// The messages of a chat are missing or empty, or contain no text.
    #[error("invalid chat completions request: must have valid messages field")]
    MissingMessages,
    /// The input of a responses request is missing or empty.
    #[error("invalid responses request: must have input field")]
    MissingResponsesInput,
    /// An embeddings request has neither an input nor messages.
    #[error("invalid embeddings request: must have input field or messages")]
    MissingEmbeddingsInput,
    /// The prompt of an image request is missing, empty, or no text.
    #[error("invalid images generations request: must have prompt field")]
    MissingImagePrompt,
    /// The body of an Anthropic request is not a JSON object, or repeats a key that the parser reads.
    #[error("error unmarshaling request body: {0}")]
    InvalidAnthropicJson(JsonError),
    /// A message of an Anthropic request repeats a key that the parser reads, or the messages contain no text.
    #[error("error parsing messages request: {0}")]
    InvalidAnthropicMessages(MessagesError),
    /// The messages of an Anthropic request are missing or empty.
    #[error("invalid messages request: must have at least one message")]
    MissingAnthropicMessages,
    /// A message of a chat repeats a key that the parser reads.
    #[error("invalid chat completions request: {0}")]
    InvalidMessages(MessagesError),
    /// The body of a request to an engine's own API is not a JSON object, or repeats a key that the parser reads.
    #[error("invalid generate request: {0}")]
    InvalidGenerateJson(JsonError),
    /// The token ids of a request to vLLM are missing or empty.
    #[error("invalid generate request: must have non-empty token_ids field")]
    MissingTokenIds,
    /// The token ids of a request to vLLM are not an array of `u32`.
    #[error("invalid generate request: token_ids must be an array of uint32 integers")]
    InvalidTokenIds,
    /// A request to the generate API of SGLang or TGI has no prompt in any form.
    #[error("invalid generate request: input_ids, text, inputs or prompt must be provided")]
    MissingGeneratePrompt,
    /// The token ids of a request to SGLang are not an array of `u32`, nor arrays of such.
    #[error("invalid generate request: input_ids must be an array of uint32 integers")]
    InvalidInputIds,
    /// The token ids of a request to SGLang are an empty array.
    #[error("invalid generate request: input_ids cannot be empty")]
    EmptyInputIds,
    /// A form has the field `model` twice.
    #[error("invalid form: the field `model` occurs twice")]
    DuplicateFormModel,
    /// The body of a gRPC request is not exactly one complete message.
    #[error("invalid or unsupported gRPC payload")]
    InvalidGrpcPayload,
    /// The prompt of a gRPC generation request is empty.
    #[error("missing tokenized input")]
    MissingTokenizedInput,
    /// A gRPC embedding request has no token ids.
    #[error("missing tokenized input in EmbedRequest")]
    MissingEmbedInput,
    /// The name of the model is too long.
    #[error("model in request body is longer than {limit_bytes} bytes")]
    ModelTooLong {
        /// Maximum length of the name in bytes.
        limit_bytes: usize,
    },
    /// A request to Anthropic's API names no model, or an empty one.
    #[error("model not found in request body")]
    MissingModel,
    /// The name of the model is not a string.
    #[error("invalid model in request body: it must be a string")]
    InvalidModel,
}

impl ParseError {
    /// Returns whether the body is not JSON, for another reason than that it ends too early.
    pub(crate) fn is_syntax(&self) -> bool {
        use JsonError::Syntax;
        matches!(
            self,
            Self::InvalidJson(Syntax(_))
                | Self::InvalidAnthropicJson(Syntax(_))
                | Self::InvalidGenerateJson(Syntax(_))
        )
    }
}

/// Why messages are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessagesError {
    /// A message repeats this key.
    #[error("duplicate field `{0}` in a message")]
    DuplicateKey(&'static str),
    /// They are in a form that the parser does not know.
    #[error("messages must be an array of objects")]
    NotMessages,
}

/// Why bytes are not the expected JSON object.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// There are none.
    #[error("the body is empty")]
    Empty,
    /// They are not UTF-8.
    #[error("the body is not UTF-8: invalid byte at offset {at}")]
    NotUtf8 {
        /// Offset of the first byte that is not part of a character.
        at: usize,
    },
    /// They end before the JSON does.
    #[error("the body is truncated: {0}")]
    Truncated(serde_json::Error),
    /// They are nested too deeply.
    #[error("recursion limit exceeded: the body is nested more than {limit} levels deep")]
    TooDeep {
        /// Maximum depth.
        limit: usize,
    },
    /// They are not JSON.
    #[error(transparent)]
    Syntax(serde_json::Error),
    /// They are JSON that repeats a key that the parser reads.
    #[error(transparent)]
    DuplicateKey(serde_json::Error),
    /// They are JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

impl JsonError {
    /// Returns the error for bytes that are not UTF-8.
    pub(crate) fn not_utf8(error: std::str::Utf8Error) -> Self {
        Self::NotUtf8 { at: error.valid_up_to() }
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        match error.classify() {
            Category::Eof => Self::Truncated(error),
            // Values are kept as they are written, so a key is all that can be wrong with them.
            Category::Data => Self::DuplicateKey(error),
            Category::Syntax | Category::Io => Self::Syntax(error),
        }
    }
}
