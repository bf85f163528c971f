//! Reads the body of a response, at most a limit of bytes, and decompresses it.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use http::Response;
use http::header::CONTENT_ENCODING;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::fetch_error::FetchError;

/// How a page is encoded.
enum Encoding {
    Plain,
    Gzip,
}

/// Replaces `page` by the body of `response`, which may have `limit` bytes, decompressed or not.
pub(super) async fn read(
    response: Response<Incoming>,
    limit: usize,
    page: &mut Vec<u8>,
) -> Result<(), FetchError> {
    let encoding = encoding(&response)?;
    let mut body = response.into_body();
    if body.size_hint().lower() > limit as u64 {
        return Err(FetchError::TooLarge(limit));
    }
    page.clear();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(FetchError::from_exchange)?;
        let Some(data) = frame.data_ref() else { continue };
        if page.len() + data.len() > limit {
            return Err(FetchError::TooLarge(limit));
        }
        page.extend_from_slice(data);
    }
    match encoding {
        Encoding::Plain => Ok(()),
        Encoding::Gzip => {
            *page = gunzip(page, limit)?;
            Ok(())
        }
    }
}

fn encoding(response: &Response<Incoming>) -> Result<Encoding, FetchError> {
    let Some(encoding) = response.headers().get(CONTENT_ENCODING) else { return Ok(Encoding::Plain) };
    let name = String::from_utf8_lossy(encoding.as_bytes()).trim().to_ascii_lowercase();
    match name.as_str() {
        "" | "identity" => Ok(Encoding::Plain),
        "gzip" | "x-gzip" => Ok(Encoding::Gzip),
        _ => Err(FetchError::Encoding(name)),
    }
}

/// Decompresses a page that has at most `limit` bytes.
fn gunzip(compressed: &[u8], limit: usize) -> Result<Vec<u8>, FetchError> {
    let mut page = Vec::new();
    let decoder = MultiGzDecoder::new(compressed).take(limit as u64 + 1);
    { decoder }.read_to_end(&mut page).map_err(FetchError::Gzip)?;
    if page.len() > limit { Err(FetchError::TooLarge(limit)) } else { Ok(page) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(page: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(page).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn pages_are_decompressed_up_to_the_limit() {
        let page = b"up 1\n".repeat(1_000);
        assert_eq!(page, gunzip(&gzip(&page), 5_000).unwrap());
        assert!(matches!(gunzip(&gzip(&page), 4_999), Err(FetchError::TooLarge(4_999))));
        let members = [gzip(b"a 1\n"), gzip(b"b 2\n")].concat();
        assert_eq!(b"a 1\nb 2\n".to_vec(), gunzip(&members, 100).unwrap());
        assert!(matches!(gunzip(&gzip(&page)[..20], 5_000), Err(FetchError::Gzip(_))));
        assert!(matches!(gunzip(b"up 1\n", 5_000), Err(FetchError::Gzip(_))));
    }
}
