//! One test for each decision that the contract forces (section 9 of the field's reference) and each refusal (its table 3.3) that a
//! conversation has a part in. The others are where their part is.

mod decisions;
mod refusals;

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use signalbox_extproc::{Config, Destination, Event, Outcome, Refusal};
use signalbox_intake::Parsers;
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};
use signalbox_types::Subset;

use crate::gateway::{
    BODY, ENDPOINT, Gateway, MADE_ID, POST, Routed, Seen, request, request_body, request_headers,
    request_trailers, response_body, response_headers, response_headers_of, telling,
};

pub(super) const NO_ENDPOINT: (i32, &str, Option<&str>) = (
    503,
    "inference error: ServiceUnavailable - failed to find endpoint candidates for serving the request",
    Some("rejected-no-endpoints"),
);

pub(super) const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/v1/models")];

pub(super) fn routed(content_length: Option<usize>) -> Routed {
    Routed {
        destination: ENDPOINT.to_owned(),
        content_length: content_length.map(|bytes| bytes.to_string()),
        request_id: Some(MADE_ID.to_owned()),
        removed: Vec::new(),
    }
}

pub(super) fn all(mut gateway: Gateway, messages: impl IntoIterator<Item = ProcessingRequest>) -> Vec<Seen> {
    messages.into_iter().flat_map(|message| gateway.say(message)).collect()
}

pub(super) fn unpicked(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|seen| !matches!(seen, Seen::Picking(_))).collect()
}

pub(super) fn hinted(
    message: ProcessingRequest,
    namespace: &str,
    key: &str,
    kind: Kind,
) -> ProcessingRequest {
    let fields = [(key.to_owned(), Value { kind: Some(kind) })].into();
    let filter_metadata = [(namespace.to_owned(), Struct { fields })].into();
    ProcessingRequest { metadata_context: Some(Metadata { filter_metadata }), ..message }
}

/// What a gateway is told of this destination.
pub(super) fn told(destination: Destination) -> String {
    let seen = all(Gateway::with(Config::default(), Ok(destination)), [request_headers(&GET, true)]);
    let Seen::Routed(routed) = &seen[1] else { panic!("{seen:?}") };
    routed.destination.clone()
}

pub(super) fn refused(seen: &[Seen]) -> (i32, &str, Option<&str>) {
    let [.., Seen::Immediate { status, body, reason, .. }, Seen::Close] = seen else { panic!("{seen:?}") };
    (*status, body, reason.as_deref())
}
