//! The result of parsing a request.

use std::ops::Range;

use serde_json::value::RawValue;
use signalbox_types::{BlockHash, PromptSize, Request, ResponseKey};

use crate::api::Api;
use crate::prompt::Prompt;
use crate::request::model::Model;

/// What the endpoint picker needs to know about a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParsedRequest {
    /// The API of the request.
    pub api: Api,
    /// The request as the policy sees it.
    pub request: Request,
    /// Hashes of the full blocks of the prompt, in order. Empty if there is no prompt.
    pub chain: Vec<BlockHash>,
    /// How the client wants the response.
    pub delivery: Delivery,
    /// The earlier response that the request continues. The endpoint that keeps it can serve the request.
    pub stored_response: Option<ResponseKey>,
    /// Whether the endpoint keeps the response, so that later requests can name it.
    pub is_stored: bool,
    /// The model that the body names, if the request is rewritten to another one. Empty if it names none.
    pub requested_model: Option<String>,
    /// Range of the JSON value of the model's name in the body, with its quotes, or the position where it can
    /// be inserted; in a form, the range of the name. For [`crate::replace_model`].
    pub model_span: Option<Range<usize>>,
    /// What could not be read, although an engine might take the request. Without a prompt, it is routed by load.
    pub unread: Option<Unread>,
}

/// What could not be read of a request, or kept its prompt from being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The prompt is in a form that is not known here, such as embeddings.
    PromptForm,
    /// The body is compressed in a way that is not known here, or is only a part of a compressed body.
    Encoding,
    /// The body is only the part that the gateway could buffer.
    Part,
    /// The body of a form or of an API of which only the model matters has another structure.
    Structure,
    /// The body names no model, although its API has one. The prompt is read.
    Model,
}

impl Unread {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::PromptForm, Self::Encoding, Self::Part, Self::Structure, Self::Model];

    /// Returns its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::PromptForm => "prompt_form",
            Self::Encoding => "encoding",
            Self::Part => "part",
            Self::Structure => "structure",
            Self::Model => "model",
        }
    }
}

impl From<Unread> for ParsedRequest {
    /// Returns a request of which nothing is known.
    fn from(unread: Unread) -> Self {
        Self { unread: Some(unread), ..Self::default() }
    }
}

/// How a client wants the response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// In one piece, once it is complete.
    #[default]
    Whole,
    /// As a stream of events, token by token.
    Streamed,
}

/// Combines what was parsed into a [`ParsedRequest`].
pub(crate) fn assemble(
    model: Model,
    prompt: Prompt,
    max_output_tokens: Option<u64>,
    delivery: Delivery,
) -> ParsedRequest {
    let (prompt, chain) = prompt.finish();
    let prompt_tokens = prompt.tokens(PromptSize::DEFAULT_BYTES_PER_TOKEN_MILLI, 100);
    let request =
        Request { model: model.name, prompt_tokens, prompt, max_output_tokens, ..Request::default() };
    ParsedRequest {
        request,
        chain,
        delivery,
        requested_model: model.requested,
        model_span: model.span,
        ..ParsedRequest::default()
    }
}

/// Returns a request of which the model, but not the prompt could be read.
pub(crate) fn assemble_unread(
    model: Model,
    max_output_tokens: Option<u64>,
    delivery: Delivery,
) -> ParsedRequest {
    let request = Request { model: model.name, max_output_tokens, ..Request::default() };
    ParsedRequest {
        request,
        delivery,
        requested_model: model.requested,
        model_span: model.span,
        ..Unread::PromptForm.into()
    }
}

/// Returns the delivery that the value of `stream` asks for.
pub(crate) fn delivery(stream: Option<&RawValue>) -> Delivery {
    match stream.map(RawValue::get) {
        Some("true") => Delivery::Streamed,
        _ => Delivery::Whole,
    }
}
