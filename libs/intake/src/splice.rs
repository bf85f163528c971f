//! Puts another model's name into a body.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

/// `body` with the JSON value at `span`, which is [`crate::Intake::model_span`], replaced by the name `new_name`; where the
/// body names no model and the span is empty, with the name put there. Every other byte stays as it is. A span that is
/// not within the body replaces nothing.
pub fn splice_model(body: &Bytes, span: &Range<usize>, new_name: &str) -> Bytes {
    let (Some(before), Some(_), Some(after)) =
        (body.get(..span.start), body.get(span.clone()), body.get(span.end..))
    else {
        return body.clone();
    };
    let name = json_string(new_name);
    // What is read has a prompt at least, so that something follows.
    let name = if span.is_empty() { format!("\"model\":{name},") } else { name };
    let mut spliced = BytesMut::with_capacity(before.len() + name.len() + after.len());
    spliced.put_slice(before);
    spliced.put_slice(name.as_bytes());
    spliced.put_slice(after);
    spliced.freeze()
}

/// `text` as a JSON string, quotes included.
pub(crate) fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
