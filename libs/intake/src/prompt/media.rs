//! Digests and weights of media.
//!
//! A medium enters the chain as one digest of its content: the XXH3-128 of its payload, after its kind. The
//! payload is the base64 text of embedded data, else the URL or id that stands for it.

use signalbox_types::{MediaKind, MediaWeights};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::json::cursor::{Cursor, Object, unquoted};
use crate::json::escapes::{Pieces, decodes_to};
use crate::prompt::media_header::{byte_rate, image_size};

/// Members of a part of a content that hold a medium or stand for one, most specific first.
const HOLDERS: [&str; 16] = [
    "image_url",
    "input_audio",
    "audio_url",
    "video_url",
    "file",
    "source",
    "image",
    "audio",
    "video",
    "image_embeds",
    "data",
    "file_data",
    "file_url",
    "file_id",
    "url",
    "uuid",
];

/// Members of a holder that is an object.
const PAYLOADS: [&str; 6] = ["url", "data", "file_data", "file_url", "file_id", "id"];

/// Longest beginning of a data URL up to its comma that is searched, in bytes.
const MAX_DATA_URL_HEAD_BYTES: usize = 256;

/// The content of a medium as the body has it, with escapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    /// Base64 of the medium itself.
    Embedded(&'a str),
    /// A URL, an id, or anything else that identifies the medium.
    Reference(&'a str),
}

impl<'a> Payload<'a> {
    /// Finds the payload in a part of a content. Engines read the member that the part's type names, so it
    /// counts before any other. A part that names none is its own reference.
    pub(crate) fn of_part(part: &Object<'a>) -> Self {
        let kind = part.get_string("type").unwrap_or_default();
        let named = HOLDERS.iter().filter(|name| decodes_to(kind, name));
        let holder = named.chain(&HOLDERS).find_map(|name| Some((*name, part.get(name)?)));
        let Some((holder, value)) = holder else { return Self::Reference(part.json()) };
        if let Some(text) = unquoted(value) {
            return Self::of_member(holder, text);
        }
        let inner = Cursor::new(value).object();
        let member = inner.and_then(|inner| {
            let is_base64 = inner.get_string("type").is_some_and(|kind| decodes_to(kind, "base64"));
            let first = is_base64.then_some("data");
            let mut names = first.iter().chain(&PAYLOADS);
            names.find_map(|name| Some(Self::of_member(name, inner.get_string(name)?)))
        });
        member.unwrap_or(Self::Reference(value))
    }

    /// Returns the payload of a data URL, or `None` if `text` is none with base64.
    pub(crate) fn of_data_url(text: &'a str) -> Option<Self> {
        text.strip_prefix("data:")?;
        let head = &text.as_bytes()[..text.len().min(MAX_DATA_URL_HEAD_BYTES)];
        let comma = memchr::memchr(b',', head)?;
        text[..comma].ends_with(";base64").then(|| Self::Embedded(&text[comma + 1..]))
    }

    fn of_member(name: &str, text: &'a str) -> Self {
        let is_base64 = matches!(name, "data" | "file_data" | "image_embeds") && !text.contains("://");
        let raw = || if is_base64 { Self::Embedded(text) } else { Self::Reference(text) };
        Self::of_data_url(text).unwrap_or_else(raw)
    }

    /// Returns the digest of the payload.
    pub(crate) fn digest(self) -> u128 {
        let (Self::Embedded(text) | Self::Reference(text)) = self;
        let mut pieces = Pieces::new(text).peekable();
        let Some(first) = pieces.next() else { return xxh3_128(b"") };
        if pieces.peek().is_none() {
            return xxh3_128(first.as_bytes());
        }
        let mut hasher = Xxh3::new();
        hasher.update(first.as_bytes());
        pieces.for_each(|piece| hasher.update(piece.as_bytes()));
        hasher.digest128()
    }

    /// Returns the weight of the medium in tokens.
    pub(crate) fn weight(self, kind: MediaKind, weights: &MediaWeights) -> u32 {
        match (kind, self) {
            (MediaKind::Image, Self::Embedded(base64)) => {
                let of_size = |(width, height)| weights.image_of_size(width, height);
                image_size(base64).map_or(weights.image_tokens, of_size)
            }
            (MediaKind::Image, Self::Reference(_)) => weights.image_tokens,
            (MediaKind::Audio, Self::Embedded(base64)) => {
                weights.audio_of_length(base64.len() as u64 / 4 * 3, byte_rate(base64))
            }
            (MediaKind::Audio, Self::Reference(_)) => weights.audio_tokens,
            (MediaKind::Video, _) => weights.video_tokens,
            (MediaKind::File, _) => weights.file_tokens,
            (MediaKind::EncryptedReasoning, _) => weights.encrypted_reasoning_tokens,
            (MediaKind::Signature, _) => 0,
        }
    }
}

/// Returns the byte that stands for a kind in the chain.
pub(crate) const fn kind_byte(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Image => b'i',
        MediaKind::Audio => b'a',
        MediaKind::Video => b'v',
        MediaKind::File => b'f',
        MediaKind::EncryptedReasoning => b'r',
        MediaKind::Signature => b's',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(part: &str) -> Payload<'_> {
        Payload::of_part(&Cursor::new(part).object().unwrap())
    }

    #[test]
    fn payload_is_found_in_every_form_of_a_medium() {
        for part in [
            r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD","detail":"low"}}"#,
            r#"{"type":"image_url","image_url":"data:image/png;base64,QUJD"}"#,
            r#"{"image_url":null,"source":{"type":"base64","media_type":"image/png","data":"QUJD"}}"#,
            r#"{"type":"input_audio","input_audio":{"data":"QUJD","format":"wav"}}"#,
            r#"{"type":"file","file":{"filename":"x","file_data":"data:application/pdf;base64,QUJD"}}"#,
            r#"{"type":"input_file","filename":"x","file_data":"QUJD"}"#,
        ] {
            assert_eq!(payload(part), Payload::Embedded("QUJD"), "{part}");
        }
        for (part, reference) in [
            (r#"{"image_url":{"url":"https://a/b?c,;base64,"}}"#, "https://a/b?c,;base64,"),
            (r#"{"source":{"type":"file","file_id":"f1"}}"#, "f1"),
            (r#"{"file_id":"f2"}"#, "f2"),
            (r#"{"type":"image_url","image_url":null,"uuid":"u"}"#, "u"),
            (r#"{"type":"image"}"#, r#"{"type":"image"}"#),
            (r#"{"image_url":{"x":1}}"#, r#"{"x":1}"#),
            (r#"{"image_url":"data:image/svg+xml,abc"}"#, "data:image/svg+xml,abc"),
        ] {
            assert_eq!(payload(part), Payload::Reference(reference), "{part}");
        }
    }

    #[test]
    fn digest_does_not_depend_on_escapes() {
        assert_eq!(Payload::Embedded(r"a\/b\u002bc").digest(), Payload::Embedded("a/b+c").digest());
        assert_ne!(Payload::Embedded("a").digest(), Payload::Embedded("b").digest());
        assert_eq!(Payload::Embedded("").digest(), xxh3_128(b""));
    }
}
