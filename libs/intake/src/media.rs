//! Images and the like in a prompt of token ids: the ids only hold a place for them, what is shown there is told by
//! a hash.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::body::{raw_content, read_optional};
use crate::error::IntakeError;
use crate::wire::{Fields, Value};

/// How long a list of hashes or places may be to be read, in bytes. It bounds the memory that a body costs.
const LIST_BYTES: usize = 262_144;

/// How many hashes and places of a message are kept; later ones are as good as not there.
const MESSAGE_MARKS: usize = 4_096;

/// What is shown from a token on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    /// The number of tokens before it.
    pub(crate) offset: u64,
    pub(crate) hash: &'a [u8],
}

#[derive(Default, Deserialize)]
struct Features<'a> {
    #[serde(borrow)]
    mm_hashes: Option<&'a RawValue>,
    #[serde(borrow)]
    mm_placeholders: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Place {
    #[serde(default)]
    offset: u64,
}

/// The marks of vLLM's `features`, in order. Hashes and places are lists, or lists by kind of medium.
pub(crate) fn of_features(features: Option<&RawValue>) -> Vec<Mark<'_>> {
    let features: Features<'_> = read_optional(features);
    let hashes: Kinds<'_, Option<&RawValue>> = kinds(features.mm_hashes);
    let mut places: Kinds<'_, Option<Place>> = kinds(features.mm_placeholders);
    let mut marks = Vec::new();
    for (kind, hashes) in hashes {
        let places = places.remove(&kind).unwrap_or_default();
        marks.extend(hashes.into_iter().zip(places).map(|(hash, place)| Mark {
            offset: place.unwrap_or_default().offset,
            hash: raw_content(hash).as_bytes(),
        }));
    }
    marks.sort_by_key(|mark| mark.offset);
    marks
}

type Kinds<'a, T> = BTreeMap<Cow<'a, str>, Vec<T>>;

/// The lists of `value` by kind of medium; a list alone is of no kind.
fn kinds<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Kinds<'a, T> {
    let text = value.map(RawValue::get).filter(|text| text.len() <= LIST_BYTES).unwrap_or_default();
    if text.starts_with('[') {
        serde_json::from_str(text).map(|list| Kinds::from([(Cow::Borrowed(""), list)])).unwrap_or_default()
    } else {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// The marks of vLLM's `MultimodalInputs`, in order.
///
/// # Errors
/// [`IntakeError::Grpc`] where it is no message.
pub(crate) fn of_message(message: &[u8]) -> Result<Vec<Mark<'_>>, IntakeError> {
    let (mut offsets, mut hashes) = (Vec::new(), Vec::new());
    for field in Fields::new(message) {
        match field? {
            (5, Value::Bytes(place)) if offsets.len() < MESSAGE_MARKS => offsets.push(offset(place)?),
            (6, Value::Bytes(hash)) if hashes.len() < MESSAGE_MARKS => hashes.push(hash),
            _ => {}
        }
    }
    let mut marks: Vec<_> =
        offsets.into_iter().zip(hashes).map(|(offset, hash)| Mark { offset, hash }).collect();
    marks.sort_by_key(|mark| mark.offset);
    Ok(marks)
}

fn offset(place: &[u8]) -> Result<u64, IntakeError> {
    let mut offset = 0;
    for field in Fields::new(place) {
        if let (1, Value::Varint(value)) = field? {
            offset = value;
        }
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(features: &str) -> Vec<(u64, String)> {
        let value: &RawValue = serde_json::from_str(features).unwrap();
        let marks = of_features(Some(value));
        marks.iter().map(|mark| (mark.offset, String::from_utf8_lossy(mark.hash).into_owned())).collect()
    }

    #[test]
    fn hashes_and_places_belong_together() {
        let both = vec![(2, "b".to_owned()), (7, "a".to_owned())];
        let flat = r#"{"mm_hashes":["a","b","c"],"mm_placeholders":[{"offset":7,"length":2},{"offset":2}]}"#;
        assert_eq!(marks(flat), both);
        let by_kind = r#"{"mm_hashes":{"image":["a"],"audio":["b"],"video":["c"]},
            "mm_placeholders":{"audio":[{"offset":2}],"image":[{"offset":7}]}}"#;
        assert_eq!(marks(by_kind), both);
    }

    #[test]
    fn what_cannot_be_read_marks_nothing() {
        for features in ["null", "[]", "{}", "7", r#"{"mm_hashes":["a"]}"#, r#"{"mm_hashes":{"a":1}}"#] {
            assert_eq!(marks(features), vec![], "{features}");
        }
    }
}
