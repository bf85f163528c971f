//! Puts another model's name into a body.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::{SmallVec, smallvec};

use crate::api::Api;
use crate::vertex;

/// What is put in the place of which bytes.
pub(crate) type Edits = SmallVec<[(Range<usize>, Bytes); 4]>;

/// `body`, which is one of `api`, with the JSON value at `span`, which is [`crate::Intake::model_span`], replaced by the name
/// `new_name`; where the body names no model and the span is empty, with the name put there. Every other byte stays as it is, but
/// for the lengths that gRPC puts before what grew. A span that is not within the body replaces nothing.
pub fn splice_model(api: Api, body: &Bytes, span: &Range<usize>, new_name: &str) -> Bytes {
    if body.get(span.clone()).is_none() {
        return body.clone();
    }
    let name = json_string(new_name);
    // What is read has a prompt at least, so that something follows.
    let name = if span.is_empty() { format!("\"model\":{name},") } else { name };
    match api {
        Api::VertexChat | Api::VertexPredict => vertex::spliced(body, span.clone(), name),
        _ => edited(body, &smallvec![(span.clone(), name.into())]),
    }
}

/// `body` with these changes, which are in their order in it and do not overlap, each within it.
pub(crate) fn edited(body: &[u8], edits: &Edits) -> Bytes {
    let added: usize = edits.iter().map(|(_, text)| text.len()).sum();
    let mut out = BytesMut::with_capacity(body.len() + added);
    let mut from = 0;
    for (range, text) in edits {
        out.put_slice(&body[from..range.start]);
        out.put_slice(text);
        from = range.end;
    }
    out.put_slice(&body[from..]);
    out.freeze()
}

/// `text` as a JSON string, quotes included.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
