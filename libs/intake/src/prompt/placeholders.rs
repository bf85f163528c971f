//! Reads where the media of a prompt of token ids are.
//!
//! The ids only reserve space for a medium; its content is identified by a hash.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::ParseError;
use crate::json::{parse_object_or_default, raw_content};
use crate::protobuf::fields::{Fields, Value};

/// Maximum length of a list of hashes or placeholders that is parsed, in bytes. It bounds the memory that a
/// body costs.
const MAX_LIST_BYTES: usize = 262_144;

/// Maximum number of hashes and of placeholders of a message that are kept. Later ones are ignored.
const MAX_MEDIA_ITEMS: usize = 4_096;

/// A medium that starts at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaItem<'a> {
    /// Number of tokens before it.
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
struct Placeholder {
    #[serde(default)]
    offset: u64,
}

/// Returns the media in vLLM's `features`, sorted by offset. Hashes and placeholders are either lists or
/// objects with one list per modality.
pub(crate) fn from_features(features: Option<&RawValue>) -> Vec<MediaItem<'_>> {
    let features: Features<'_> = parse_object_or_default(features);
    let hashes: ByModality<'_, Option<&RawValue>> = by_modality(features.mm_hashes);
    let mut placeholders: ByModality<'_, Option<Placeholder>> = by_modality(features.mm_placeholders);
    let mut media_items = Vec::new();
    for (modality, hashes) in hashes {
        let placeholders = placeholders.remove(&modality).unwrap_or_default();
        media_items.extend(hashes.into_iter().zip(placeholders).map(|(hash, placeholder)| MediaItem {
            offset: placeholder.unwrap_or_default().offset,
            hash: raw_content(hash).as_bytes(),
        }));
    }
    media_items.sort_by_key(|item| item.offset);
    media_items
}

type ByModality<'a, T> = BTreeMap<Cow<'a, str>, Vec<T>>;

/// Returns the lists in `value` by modality. A plain list gets the empty modality.
fn by_modality<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> ByModality<'a, T> {
    let text = value.map(RawValue::get).filter(|text| text.len() <= MAX_LIST_BYTES).unwrap_or_default();
    if text.starts_with('[') {
        serde_json::from_str(text)
            .map(|list| ByModality::from([(Cow::Borrowed(""), list)]))
            .unwrap_or_default()
    } else {
        serde_json::from_str(text).unwrap_or_default()
    }
}

/// Returns the media in vLLM's `MultimodalInputs`, sorted by offset.
///
/// # Errors
/// Returns [`ParseError::InvalidGrpcPayload`] if `message` is not a protobuf message.
pub(crate) fn from_message(message: &[u8]) -> Result<Vec<MediaItem<'_>>, ParseError> {
    let (mut offsets, mut hashes) = (Vec::new(), Vec::new());
    for field in Fields::new(message) {
        match field? {
            (5, Value::Bytes(placeholder)) if offsets.len() < MAX_MEDIA_ITEMS => {
                offsets.push(offset(placeholder)?)
            }
            (6, Value::Bytes(hash)) if hashes.len() < MAX_MEDIA_ITEMS => hashes.push(hash),
            _ => {}
        }
    }
    let mut media_items: Vec<_> =
        offsets.into_iter().zip(hashes).map(|(offset, hash)| MediaItem { offset, hash }).collect();
    media_items.sort_by_key(|item| item.offset);
    Ok(media_items)
}

fn offset(placeholder: &[u8]) -> Result<u64, ParseError> {
    let mut offset = 0;
    for field in Fields::new(placeholder) {
        if let (1, Value::Varint(value)) = field? {
            offset = value;
        }
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media_items(features: &str) -> Vec<(u64, String)> {
        let value: &RawValue = serde_json::from_str(features).unwrap();
        let media_items = from_features(Some(value));
        media_items
            .iter()
            .map(|item| (item.offset, String::from_utf8_lossy(item.hash).into_owned()))
            .collect()
    }

    #[test]
    fn hashes_and_placeholders_are_paired() {
        let both = vec![(2, "b".to_owned()), (7, "a".to_owned())];
        let flat = r#"{"mm_hashes":["a","b","c"],"mm_placeholders":[{"offset":7,"length":2},{"offset":2}]}"#;
        assert_eq!(media_items(flat), both);
        let by_kind = r#"{"mm_hashes":{"image":["a"],"audio":["b"],"video":["c"]},
            "mm_placeholders":{"audio":[{"offset":2}],"image":[{"offset":7}]}}"#;
        assert_eq!(media_items(by_kind), both);
    }

    #[test]
    fn invalid_features_contain_no_media() {
        for features in ["null", "[]", "{}", "7", r#"{"mm_hashes":["a"]}"#, r#"{"mm_hashes":{"a":1}}"#] {
            assert_eq!(media_items(features), vec![], "{features}");
        }
    }
}
