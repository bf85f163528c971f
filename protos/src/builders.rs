//! Shortcuts to build ext-proc messages.

use bytes::Bytes;

use crate::envoy::config::core::v3::{HeaderMap, HeaderValue};
use crate::envoy::service::ext_proc::v3::ProcessingRequest;
use crate::envoy::service::ext_proc::v3::processing_request::Request;

impl HeaderValue {
    /// Creates a header with only `raw_value`: a gateway that reads raw values rejects a header that has
    /// both.
    pub fn raw(key: &str, raw_value: Bytes) -> Self {
        Self { key: key.to_owned(), value: String::new(), raw_value }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for HeaderMap {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(headers: T) -> Self {
        let headers = headers.into_iter();
        let raw = headers.map(|(key, value)| HeaderValue::raw(key, Bytes::copy_from_slice(value.as_bytes())));
        Self { headers: raw.collect() }
    }
}

impl From<Request> for ProcessingRequest {
    /// Wraps a request in a message without any other part.
    fn from(request: Request) -> Self {
        Self { request: Some(request), ..Self::default() }
    }
}
