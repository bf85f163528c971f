//! Decodes the escapes of JSON strings piece by piece, without building a copy.
//!
//! The escapes are those of [RFC 8259, section 7](https://www.rfc-editor.org/rfc/rfc8259#section-7).

use std::borrow::Cow;

/// Longest escaped name that is decoded, in bytes. No name that the parser looks for is longer, even if each
/// of its characters is escaped.
const MAX_ESCAPED_NAME_BYTES: usize = 256;

/// Consecutive bytes of a decoded string.
pub(crate) enum Piece<'a> {
    /// Text without escapes, as it is written in the body.
    Literal(&'a [u8]),
    /// The character of one escape.
    Character(Character),
}

/// A character in UTF-8.
#[derive(Clone, Copy)]
pub(crate) struct Character {
    /// Its bytes, followed by zeros.
    bytes: [u8; 4],
    /// How many bytes it has.
    len: usize,
}

impl Piece<'_> {
    /// Returns the bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Literal(bytes) => bytes,
            Self::Character(character) => &character.bytes[..character.len],
        }
    }
}

/// Iterates over the pieces of a string. Their concatenation is the decoded string in UTF-8.
///
/// A surrogate without its other half becomes the 3 bytes that UTF-8 would use for it
/// ([WTF-8](https://simonsapin.github.io/wtf-8/)), so that different strings never decode to the same bytes.
pub(crate) struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    /// Returns the pieces of `escaped`, the text between the quotes of a valid JSON string.
    pub(crate) fn new(escaped: &'a str) -> Self {
        Self { rest: escaped.as_bytes() }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if let [b'\\', escape, ..] = self.rest {
            let (character, len) = decode(self.rest, *escape);
            self.rest = self.rest.get(len..).unwrap_or_default();
            return Some(Piece::Character(character));
        }
        // A backslash at the very end does not occur in valid JSON; it counts as text.
        let len = memchr::memchr(b'\\', self.rest).filter(|at| *at > 0).unwrap_or(self.rest.len());
        let (literal, rest) = self.rest.split_at(len);
        self.rest = rest;
        (!literal.is_empty()).then_some(Piece::Literal(literal))
    }
}

/// Bytes that are copied at once. A word of the buffer is written even if only part of it is text.
const WORD_BYTES: usize = 8;

/// Decodes the beginning of `escaped`, the text between the quotes of a valid JSON string, into `buffer`, until
/// less than a word of it is left. Returns how many bytes it read and how many it wrote.
///
/// The concatenation of what it writes equals that of [`Pieces`]. It is several times faster for text with
/// many escapes, such as source code.
pub(crate) fn decode_into(escaped: &[u8], buffer: &mut [u8]) -> (usize, usize) {
    let (mut rest, mut written) = (escaped, 0);
    while !rest.is_empty() && written + WORD_BYTES <= buffer.len() {
        if let Some(word) = rest.first_chunk::<WORD_BYTES>() {
            buffer[written..written + WORD_BYTES].copy_from_slice(word);
            let plain = bytes_before_backslash(*word);
            written += plain;
            rest = &rest[plain..];
            if plain == WORD_BYTES || written + WORD_BYTES > buffer.len() {
                continue;
            }
        }
        if let [b'\\', escape, ..] = rest {
            let (character, len) = decode(rest, *escape);
            buffer[written..written + 4].copy_from_slice(&character.bytes);
            written += character.len;
            rest = rest.get(len..).unwrap_or_default();
        } else if let [byte, after @ ..] = rest {
            buffer[written] = *byte;
            written += 1;
            rest = after;
        }
    }
    (escaped.len() - rest.len(), written)
}

/// Returns how many bytes of `word` precede its first backslash; all of them if it has none.
fn bytes_before_backslash(word: [u8; WORD_BYTES]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; WORD_BYTES]);
    const HIGH_BITS: u64 = ONES << 7;
    // The lowest high bit that is left marks the first byte that is zero after the comparison
    // (https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord).
    let differences = u64::from_le_bytes(word) ^ (ONES * b'\\' as u64);
    let zeros = differences.wrapping_sub(ONES) & !differences & HIGH_BITS;
    zeros.trailing_zeros() as usize / 8
}

/// Decodes the escape that `rest` starts with. Returns its character, and how many bytes it is written in.
fn decode(rest: &[u8], escape: u8) -> (Character, usize) {
    let character = match escape {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'b' => 0x08,
        b'f' => 0x0c,
        b'u' => return decode_unit(rest),
        other => other,
    };
    (Character { bytes: [character, 0, 0, 0], len: 1 }, 2)
}

/// Decodes `\uXXXX`, or two of them that are one character.
fn decode_unit(rest: &[u8]) -> (Character, usize) {
    let Some(unit) = unit(rest) else { return (Character { bytes: *b"\\u\0\0", len: 2 }, 2) };
    if let Some(character) = char::from_u32(unit) {
        return (encoded(character), 6);
    }
    let low = rest.get(6..).and_then(self::unit).filter(|low| (0xDC00..0xE000).contains(low));
    if let Some(low) = low.filter(|_| unit < 0xDC00) {
        let character = char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00));
        return (encoded(character.unwrap_or_default()), 12);
    }
    let bytes = [0xE0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3F) as u8, 0x80 | (unit & 0x3F) as u8, 0];
    (Character { bytes, len: 3 }, 6)
}

fn encoded(character: char) -> Character {
    let mut bytes = [0; 4];
    let len = character.encode_utf8(&mut bytes).len();
    Character { bytes, len }
}

/// Returns the UTF-16 code unit of the `\uXXXX` that `rest` starts with.
fn unit(rest: &[u8]) -> Option<u32> {
    let [b'\\', b'u', digits @ ..] = rest else { return None };
    let mut unit = 0;
    for digit in digits.first_chunk::<4>()? {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            b'A'..=b'F' => digit - b'A' + 10,
            _ => return None,
        };
        unit = unit << 4 | u32::from(value);
    }
    Some(unit)
}

/// Returns the decoded form of a name. A name too long to be one that the parser knows is returned as it is.
pub(crate) fn name(escaped: &str) -> Cow<'_, str> {
    if escaped.len() > MAX_ESCAPED_NAME_BYTES || memchr::memchr(b'\\', escaped.as_bytes()).is_none() {
        return Cow::Borrowed(escaped);
    }
    let bytes: Vec<u8> = Pieces::new(escaped).flat_map(|piece| piece.as_bytes().to_vec()).collect();
    String::from_utf8(bytes).map_or(Cow::Borrowed(escaped), Cow::Owned)
}

/// Returns whether `escaped`, the text between the quotes of a valid JSON string, decodes to `wanted`.
pub(crate) fn decodes_to(escaped: &str, wanted: &str) -> bool {
    // An escape is longer than what it stands for, at most by this factor.
    const MAX_GROWTH: usize = r"\u0000".len();
    if escaped.len() < wanted.len() || escaped.len() > wanted.len() * MAX_GROWTH {
        return false;
    }
    let rest = Pieces::new(escaped)
        .try_fold(wanted.as_bytes(), |rest: &[u8], piece| rest.strip_prefix(piece.as_bytes()));
    rest.is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::*;

    /// Decodes a string in both ways.
    fn decoded(escaped: &str) -> Vec<u8> {
        let bytes: Vec<_> = Pieces::new(escaped).flat_map(|piece| piece.as_bytes().to_vec()).collect();
        for buffer_bytes in [8, 9, 15, 64] {
            let (mut rest, mut all) = (escaped.as_bytes(), Vec::new());
            while !rest.is_empty() {
                let mut buffer = vec![0; buffer_bytes];
                let (read, written) = decode_into(rest, &mut buffer);
                all.extend_from_slice(&buffer[..written]);
                rest = &rest[read..];
            }
            assert_eq!(all, bytes, "{escaped} in {buffer_bytes} bytes");
        }
        bytes
    }

    #[test]
    fn escapes_become_the_characters_they_stand_for() {
        for (escaped, text) in [
            (r#"a\"b\\c\/d\n\t\r\b\f"#, "a\"b\\c/d\n\t\r\u{8}\u{c}"),
            (r"\u4e2d\u6587", "中文"),
            (r"\u4E2D\ud83d\ude00x", "中😀x"),
            ("", ""),
        ] {
            assert_eq!(decoded(escaped), text.as_bytes(), "{escaped}");
        }
    }

    #[test]
    fn lone_surrogates_stay_distinct() {
        let lone = [r"\ud800", r"\udc00", r"\ud800\ud800", r"\udc00\ud800", r"\ud800\u0041", r"\ufffd"];
        for (at, one) in lone.iter().enumerate() {
            assert!(lone[..at].iter().all(|other| decoded(other) != decoded(one)), "{one}");
        }
        assert_eq!(decoded(r"\ud800x"), b"\xed\xa0\x80x");
    }

    #[test]
    fn invalid_escapes_do_not_panic() {
        for escaped in ["\\", "\\u", "\\u12", "\\uzzzz", r"\ud800\u12", "a\\"] {
            decoded(escaped);
        }
    }

    #[test]
    fn names_are_decoded_up_to_a_limit() {
        assert_eq!(name("role"), "role");
        assert_eq!(name(r"r\u006fle"), "role");
        let long = r"\u0061".repeat(50);
        assert_eq!(name(&long), long);
    }

    #[test]
    fn escaped_names_are_compared_as_they_decode() {
        for escaped in ["role", r"r\u006fle", r"\u0072\u006f\u006c\u0065", r"rol\u0065"] {
            assert!(decodes_to(escaped, "role"), "{escaped}");
        }
        for escaped in ["", "rol", "roles", r"rol\u0066", r"role\u0065", r"r\u006f", "\\", r"\ud800le"] {
            assert!(!decodes_to(escaped, "role"), "{escaped}");
        }
        assert!(decodes_to("", "") && decodes_to(r"\ud83d\ude00", "\u{1f600}"));
    }

    proptest! {
        #[test]
        fn text_is_decoded_as_a_json_library_does(text in ".{0,40}", ascii in proptest::bool::ANY) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                let mut units = [0; 2];
                json = json.chars().map(|c| if c.is_ascii() { c.to_string() } else {
                    c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
                }).collect();
            }
            prop_assert_eq!(decoded(&json[1..json.len() - 1]), text.into_bytes());
        }
    }
}
