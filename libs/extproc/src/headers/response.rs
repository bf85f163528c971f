//! Reads response headers.

use signalbox_intake::response::ResponseFormat;
use signalbox_protos::envoy::config::core::v3::HeaderMap;

use crate::headers::value::header_text;

/// Returns how to read the response's body: not at all if it is compressed or has another content type.
pub(crate) fn response_format(headers: Option<&HeaderMap>) -> ResponseFormat {
    let headers = headers.map(|map| map.headers.as_slice()).unwrap_or_default();
    let value =
        |name: &str| header_text(headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?);
    if value("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return ResponseFormat::Unread;
    }
    let kind = value("content-type").unwrap_or_default().to_ascii_lowercase();
    match kind.split(';').next().unwrap_or_default().trim() {
        "text/event-stream" => ResponseFormat::EventStream,
        "application/json" => ResponseFormat::Json,
        kind if kind.starts_with("application/grpc") => ResponseFormat::Grpc,
        _ => ResponseFormat::Unread,
    }
}

/// Returns the HTTP status of a response.
pub(crate) fn status(headers: Option<&HeaderMap>) -> Option<u16> {
    let headers = headers.map(|map| map.headers.as_slice()).unwrap_or_default();
    let status = headers.iter().find(|header| matches!(header.key.as_str(), ":status" | "status"))?;
    header_text(status)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use signalbox_protos::envoy::config::core::v3::HeaderValue;

    use super::*;
    use crate::headers::value::tests::{plain, raw};

    #[test]
    fn content_type_determines_the_format_unless_compressed() {
        let kind = |headers: Vec<HeaderValue>| response_format(Some(&HeaderMap { headers }));
        let content = |text| raw("Content-Type", text);
        assert_eq!(ResponseFormat::EventStream, kind(vec![content("text/event-stream; charset=utf-8")]));
        assert_eq!(
            ResponseFormat::Json,
            kind(vec![content("Application/JSON"), raw("content-encoding", "identity")])
        );
        assert_eq!(ResponseFormat::Grpc, kind(vec![content("application/grpc+proto")]));
        assert_eq!(
            ResponseFormat::Unread,
            kind(vec![content("application/json"), raw("content-encoding", "gzip")])
        );
        assert_eq!(ResponseFormat::Unread, kind(vec![content("text/html")]));
        assert_eq!(ResponseFormat::Unread, response_format(None));
    }

    #[test]
    fn status_is_parsed() {
        let of = |header| status(Some(&HeaderMap { headers: vec![header] }));
        assert_eq!(of(raw(":status", "200")), Some(200));
        assert_eq!(of(plain("status", "503")), Some(503));
        assert_eq!(of(raw(":status", "fine")), None);
        assert_eq!(status(None), None);
    }
}
