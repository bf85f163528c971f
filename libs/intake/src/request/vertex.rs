//! Parses the bodies of Vertex AI's prediction service: OpenAI JSON in a `google.api.HttpBody`.

use crate::error::ParseError;
use crate::options::ParseOptions;
use crate::protobuf::http_body::{Envelope, Payload};
use crate::request::openai;
use crate::request::parsed::ParsedRequest;

/// Parses a chat completion.
pub(crate) fn parse_chat(body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    parse_payload(body, |json| openai::parse_chat(json, options))
}

/// Parses an OpenAI responses request.
pub(crate) fn parse_predict(body: &[u8], options: &ParseOptions<'_>) -> Result<ParsedRequest, ParseError> {
    parse_payload(body, |json| openai::parse_responses(json, options))
}

fn parse_payload(
    body: &[u8],
    parse_json: impl FnOnce(&[u8]) -> Result<ParsedRequest, ParseError>,
) -> Result<ParsedRequest, ParseError> {
    let Some(payload) = Payload::find(body, Envelope::Request)? else { return parse_json(b"") };
    let json = payload.range();
    let mut parsed = parse_json(&body[json.clone()])?;
    parsed.model_span = parsed.model_span.map(|span| json.start + span.start..json.start + span.end);
    Ok(parsed)
}
