//! Reads header values.

use signalbox_protos::envoy::config::core::v3::HeaderValue;
use signalbox_protos::envoy::service::ext_proc::v3::ProcessingRequest;
use signalbox_protos::envoy::service::ext_proc::v3::processing_request::Request as Message;

/// Returns the value of the header `name`, if `message` contains request headers and this one is among them.
pub fn request_header<'a>(message: &'a ProcessingRequest, name: &str) -> Option<&'a str> {
    let Some(Message::RequestHeaders(headers)) = &message.request else { return None };
    let headers = headers.headers.as_ref().map(|map| map.headers.as_slice()).unwrap_or_default();
    header_text(headers.iter().find(|header| header.key.eq_ignore_ascii_case(name))?)
}

/// Returns the value of a header, from either of the fields that gateways use. `None` if it is empty or not
/// text.
pub(crate) fn header_text(header: &HeaderValue) -> Option<&str> {
    let raw = str::from_utf8(&header.raw_value).ok()?;
    let value = if raw.is_empty() { header.value.as_str() } else { raw };
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
pub(crate) mod tests {
    use signalbox_protos::envoy::config::core::v3::HeaderMap;
    use signalbox_protos::envoy::service::ext_proc::v3::{HttpBody, HttpHeaders};

    use super::*;

    /// Returns a header as Envoy sends it.
    pub(crate) fn raw(key: &str, value: &'static str) -> HeaderValue {
        HeaderValue { key: key.to_owned(), value: String::new(), raw_value: value.into() }
    }

    /// Returns a header with its value in the older field.
    pub(crate) fn plain(key: &str, value: &str) -> HeaderValue {
        HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: "".into() }
    }

    #[test]
    fn header_is_found_only_in_request_headers() {
        let headers = Some(HeaderMap { headers: vec![raw("Traceparent", "00-1-2-01")] });
        let of = ProcessingRequest::from;
        let message = of(Message::RequestHeaders(HttpHeaders { headers, ..HttpHeaders::default() }));
        assert_eq!(request_header(&message, "traceparent"), Some("00-1-2-01"));
        assert_eq!(request_header(&message, "tracestate"), None);
        assert_eq!(request_header(&of(Message::RequestBody(HttpBody::default())), "traceparent"), None);
    }
}
