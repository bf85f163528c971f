//! Compressed bodies.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use signalbox_intake::{ContentEncodings, DecodeError, UnknownEncoding};

const TEXT: &[u8] = br#"{"model":"m","prompt":"0123456789012345678901234567890123456789"}"#;

/// [`TEXT`] in Brotli.
const BROTLI_TEXT: &[u8] = &[
    27, 64, 0, 248, 5, 98, 110, 148, 250, 101, 2, 62, 31, 177, 51, 153, 179, 57, 83, 146, 73, 186, 42, 5,
    134, 232, 113, 0, 195, 17, 226, 108, 143, 139, 161, 41, 151, 218, 250, 152, 11, 62,
];

/// 3 MiB of spaces in Brotli.
const BROTLI_SPACES: &[u8] = &[155, 255, 255, 47, 248, 37, 64, 226, 177, 64, 32, 247, 254, 5];

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap().into()
}

fn zlib(body: &[u8]) -> Bytes {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap().into()
}

fn deflate(body: &[u8]) -> Bytes {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap().into()
}

fn zstd(body: &[u8]) -> Bytes {
    compress_to_vec(body, CompressionLevel::Fastest).into()
}

/// Decodes `body`; returns it with the number of bytes that were reserved.
fn decode(header: &str, body: &Bytes, limit: usize) -> Result<(Bytes, usize), DecodeError> {
    let mut reserved = 0;
    let decoded = ContentEncodings::parse(header).unwrap().decode(body, limit, &mut |bytes| {
        reserved += bytes;
        true
    })?;
    Ok((decoded, reserved))
}

#[test]
fn all_encodings_are_decoded() {
    for (header, body) in [
        ("gzip", gzip(TEXT)),
        ("X-GZIP", gzip(TEXT)),
        ("gzip", [gzip(&TEXT[..20]), gzip(&TEXT[20..])].concat().into()),
        ("deflate", zlib(TEXT)),
        ("deflate", deflate(TEXT)),
        ("br", Bytes::from_static(BROTLI_TEXT)),
        ("zstd", zstd(TEXT)),
        ("zstd", [zstd(&TEXT[..20]), zstd(&TEXT[20..])].concat().into()),
        ("gzip , zstd", zstd(&gzip(TEXT))),
        ("identity", Bytes::from_static(TEXT)),
        ("", Bytes::from_static(TEXT)),
    ] {
        let (decoded, reserved) = decode(header, &body, TEXT.len()).unwrap();
        assert_eq!(decoded, TEXT, "{header}");
        assert_eq!(reserved == 0, ContentEncodings::parse(header).unwrap().is_identity());
    }
    for header in ["compress", "gzip, aws-chunked", "gzip,gzip,gzip,gzip,gzip"] {
        assert_eq!(ContentEncodings::parse(header), Err(UnknownEncoding), "{header}");
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let spaces = vec![b' '; 3 << 20];
    for (header, bomb) in [
        ("gzip", gzip(&spaces)),
        ("deflate", zlib(&spaces)),
        ("br", Bytes::from_static(BROTLI_SPACES)),
        ("zstd", zstd(&spaces)),
        ("gzip, gzip", gzip(&gzip(&spaces))),
    ] {
        assert_eq!(decode(header, &bomb, 3 << 20).unwrap().0.len(), 3 << 20, "{header}");
        let mut reserved = 0;
        let refused = ContentEncodings::parse(header).unwrap().decode(&bomb, 100_000, &mut |bytes| {
            reserved += bytes;
            true
        });
        assert!(matches!(refused, Err(DecodeError::TooLong)), "{header}: {refused:?}");
        assert!(reserved <= 200_000, "{header}: {reserved}");
        let refused =
            ContentEncodings::parse(header).unwrap().decode(&bomb, 3 << 20, &mut |bytes| bytes < 50_000);
        assert!(matches!(refused, Err(DecodeError::NoRoom)), "{header}: {refused:?}");
    }
}

#[test]
fn invalid_and_truncated_bodies_are_named() {
    for (header, body) in
        [("gzip", gzip(TEXT)), ("deflate", zlib(TEXT)), ("br", BROTLI_TEXT.into()), ("zstd", zstd(TEXT))]
    {
        for body in [body.slice(..body.len() - 5), Bytes::from_static(TEXT), Bytes::new()] {
            let text = decode(header, &body, 1 << 20).unwrap_err().to_string();
            let expected = format!("invalid request body: it is not valid {header}: ");
            assert!(text.starts_with(&expected), "{header}: {text}");
        }
    }
}

proptest! {
    #[test]
    fn reserved_bytes_cover_the_decoded_body(body in vec(any::<u8>(), 0..5_000), repeats in 1usize..8, how in 0usize..3) {
        let body = body.repeat(repeats);
        let (header, encoded) =
            [("gzip", gzip(&body)), ("deflate", zlib(&body)), ("zstd", zstd(&body))][how].clone();
        let (decoded, reserved) = decode(header, &encoded, body.len()).unwrap();
        prop_assert_eq!(&decoded[..], &body[..]);
        prop_assert!((body.len()..=2 * body.len() + 32_768).contains(&reserved), "{} {}", reserved, body.len());
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(body in vec(any::<u8>(), 0..300), how in 0usize..4) {
        let _ = decode(["gzip", "deflate", "br", "zstd"][how], &body.into(), 10_000);
    }
}
