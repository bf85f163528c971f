//! Reads the size of images and the byte rate of audio from the first bytes of their base64.

use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};

use crate::json::escapes::Pieces;

/// Characters that are decoded at first. They hold the headers of PNG, GIF, WebP and WAV, and of most JPEGs.
const SHORT_PREFIX: usize = 1_024;

/// Characters that are decoded of a JPEG whose size follows after metadata, such as a thumbnail.
const LONG_PREFIX: usize = 131_072;

/// Characters that are decoded of audio.
const WAV_PREFIX: usize = 48;

/// Accepts base64 that was cut anywhere, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns the width and height in pixels of an image, if its header tells them.
pub(crate) fn image_size(base64: &str) -> Option<(u64, u64)> {
    let header = decode_prefix(base64, SHORT_PREFIX)?;
    size(&header).or_else(|| {
        let is_cut_jpeg = header.starts_with(b"\xff\xd8") && base64.len() > SHORT_PREFIX;
        is_cut_jpeg.then(|| decode_prefix(base64, LONG_PREFIX)).flatten().and_then(|header| size(&header))
    })
}

/// Returns the bytes per second of a WAV file, if the base64 is of one.
///
/// The rate is at a fixed place, because the format chunk comes first
/// ([format](http://soundfile.sapp.org/doc/WaveFormat/)).
pub(crate) fn byte_rate(base64: &str) -> Option<u32> {
    let header = decode_prefix(base64, WAV_PREFIX)?;
    let is_wav = header.starts_with(b"RIFF") && header.get(8..16)? == b"WAVEfmt ";
    let rate = header.get(28..32)?.try_into().map(u32::from_le_bytes).ok()?;
    is_wav.then_some(rate)
}

fn size(header: &[u8]) -> Option<(u64, u64)> {
    let size = imagesize::blob_size(header).ok()?;
    Some((size.width as u64, size.height as u64))
}

/// Decodes the first `max_characters` characters. Line breaks and the alphabet for URLs are accepted.
fn decode_prefix(base64: &str, max_characters: usize) -> Option<Vec<u8>> {
    let mut characters = Vec::with_capacity(max_characters.min(base64.len()));
    for piece in Pieces::new(base64) {
        let missing = max_characters - characters.len();
        let plain = piece.as_bytes().iter().filter(|byte| !byte.is_ascii_whitespace());
        characters.extend(plain.take(missing).map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        }));
        if characters.len() == max_characters {
            break;
        }
    }
    BASE64.decode(characters).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        BASE64.encode(bytes)
    }

    fn png(width: u32, height: u32) -> Vec<u8> {
        let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
        [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", &size[..], &[8, 2, 0, 0, 0]].concat()
    }

    /// Returns a JPEG whose size follows after `metadata_bytes` of metadata.
    fn jpeg(width: u16, height: u16, metadata_bytes: u16) -> Vec<u8> {
        let metadata =
            [b"\xff\xe1", &(metadata_bytes + 2).to_be_bytes()[..], &vec![7; metadata_bytes.into()]];
        let frame = [b"\xff\xc0\0\x11\x08", &height.to_be_bytes()[..], &width.to_be_bytes(), &[3; 12]];
        [&b"\xff\xd8"[..], &metadata.concat(), &frame.concat()].concat()
    }

    #[test]
    fn sizes_of_the_usual_formats_are_read() {
        let gif = [b"GIF89a", &100_u16.to_le_bytes()[..], &50_u16.to_le_bytes(), &[0; 8]].concat();
        let webp = [b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0", &[99, 0, 0, 49, 0, 0][..]].concat();
        for image in [png(100, 50), gif, webp, jpeg(100, 50, 10), jpeg(100, 50, 60_000)] {
            assert_eq!(image_size(&encoded(&image)), Some((100, 50)), "{:?}", &image[..4]);
            let followed = [image, vec![0x5a; 500_000]].concat();
            assert_eq!(image_size(&encoded(&followed)), Some((100, 50)));
        }
    }

    #[test]
    fn other_alphabets_line_breaks_and_escapes_are_accepted() {
        let text = encoded(&png(0xfbff, 0xffff)).replace('=', "");
        let url_safe = text.replace('+', "-").replace('/', "_");
        assert_ne!(text, url_safe);
        let escaped = text.replace('/', r"\/");
        let broken = format!(r"{}\r\n{}", &text[..20], &text[20..]);
        for base64 in [text, url_safe, escaped, broken] {
            assert_eq!(image_size(&base64), Some((0xfbff, 0xffff)), "{base64}");
        }
    }

    #[test]
    fn anything_else_has_no_size() {
        let cut = encoded(&png(1, 1)[..20]);
        let endless = encoded(&[b"\xff\xd8\xff\xe1\0\0".as_slice(), &[0xff; 4_000]].concat());
        let late = encoded(&jpeg(9, 9, 60_000).repeat(2)[..60_000]);
        for base64 in ["", "AAAA", "!", "iVBORw0KGgo=", &cut, &endless, &late] {
            assert_eq!(image_size(base64), None, "{}", &base64[..base64.len().min(40)]);
        }
    }

    #[test]
    fn byte_rate_of_wav_is_read() {
        let wav =
            [b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0", &[0; 4][..], &32_000_u32.to_le_bytes(), &[0; 20]];
        assert_eq!(byte_rate(&encoded(&wav.concat())), Some(32_000));
        assert_eq!(byte_rate(&encoded(&[0; 60])), None);
        assert_eq!(byte_rate(&encoded(&wav.concat()[..20])), None);
    }
}
