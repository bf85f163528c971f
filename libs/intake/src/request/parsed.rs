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
    /// be inserted. For [`crate::replace_model`].
    pub model_span: Option<Range<usize>>,
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

/// Returns the delivery that the value of `stream` asks for.
pub(crate) fn delivery(stream: Option<&RawValue>) -> Delivery {
    match stream.map(RawValue::get) {
        Some("true") => Delivery::Streamed,
        _ => Delivery::Whole,
    }
}
