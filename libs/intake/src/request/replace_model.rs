//! Replaces the model's name in a request body.

use std::ops::Range;

use bytes::Bytes;
use smallvec::smallvec;

use crate::api::Api;
use crate::byte_edits::apply_edits;
use crate::json::json_string;
use crate::protobuf::http_body::replace_in_payload;

/// Returns `body`, a body of `api`, with the JSON value at `span`, or in a form the text there, replaced by the name
/// `new_name`.
///
/// `span` is [`crate::ParsedRequest::model_span`]. If it is empty, because the body names no model, the name
/// is inserted there. All other bytes stay the same, except for the length prefixes of gRPC messages. A span
/// outside the body changes nothing.
pub fn replace_model(api: Api, body: &Bytes, span: &Range<usize>, new_name: &str) -> Bytes {
    if body.get(span.clone()).is_none() {
        return body.clone();
    }
    let name = json_string(new_name);
    // Only a body with a prompt gets a model that it did not name, so a key always follows.
    let name = if span.is_empty() { format!("\"model\":{name},") } else { name };
    match api {
        Api::VertexChat | Api::VertexPredict => replace_in_payload(body, span.clone(), name),
        Api::ModelForm => apply_edits(body, &smallvec![(span.clone(), new_name.to_owned().into())]),
        _ => apply_edits(body, &smallvec![(span.clone(), name.into())]),
    }
}
