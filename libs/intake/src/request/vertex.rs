//! Parses the bodies of Vertex AI's prediction service: OpenAI JSON in a `google.api.HttpBody`.

use crate::error::ParseError;
use crate::options::ParseOptions;
use crate::protobuf::grpc_frame::single_message;
use crate::protobuf::http_body::{Envelope, Payload};
use crate::request::parsed::{ParsedRequest, Unread};
use crate::request::{items, model_only, openai};

/// Parses a chat completion.
pub(crate) fn parse_chat(body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    parse_payload(body, |json| openai::parse_chat(json, options))
}

/// Parses a prediction: an OpenAI responses request, or any other JSON, which is not read.
pub(crate) fn parse_predict(body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    parse_payload(body, |json| match items::parse_responses(json, options) {
        Err(ParseError::MissingResponsesInput) => model_only::parse_json(json, options)
            .map(|named| ParsedRequest { unread: Some(Unread::PromptForm), ..named }),
        parsed => parsed,
    })
}

fn parse_payload(
    body: &[u8],
    parse_json: impl FnOnce(&[u8]) -> Result<ParsedRequest, ParseError>,
) -> Result<ParsedRequest, ParseError> {
    if single_message(body)?.is_none() {
        return Ok(Unread::Encoding.into());
    }
    let Some(payload) = Payload::find(body, Envelope::Request)? else { return parse_json(b"") };
    let json = payload.range();
    let mut parsed = parse_json(&body[json.clone()])?;
    parsed.model_span = parsed.model_span.map(|span| json.start + span.start..json.start + span.end);
    Ok(parsed)
}
