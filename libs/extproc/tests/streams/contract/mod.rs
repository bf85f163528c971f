//! The contract between gateways and an endpoint picker.
//!
//! One test per decision (section 9 of the contract's reference) and per refusal (its table 3.3) that a
//! conversation takes part in. The other rows are tested in the crates that implement them.

mod decisions;
mod refusals;

use bytes::Bytes;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use signalbox_extproc::{Config, Destination, Event, Outcome, Refusal};
use signalbox_intake::{Parsers, Unread};
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_protos::envoy::service::ext_proc::v3::{BodySendMode, ProcessingRequest};
use signalbox_types::Subset;

use crate::gateway::{
    BODY, ENDPOINT, GENERATED_ID, Gateway, Observed, POST, Routed, request, request_body, request_headers,
    request_trailers, response_body, response_headers, response_headers_of, with_body_modes,
};

pub(super) const NO_ENDPOINT: (i32, &str, Option<&str>) = (
    503,
    "ServiceUnavailable - failed to find endpoint candidates for serving the request",
    Some("rejected-no-endpoints"),
);

pub(super) const GET: [(&str, &str); 2] = [(":method", "GET"), (":path", "/v1/models")];

pub(super) fn routed(content_length: Option<usize>) -> Routed {
    Routed {
        destination: ENDPOINT.to_owned(),
        content_length: content_length.map(|bytes| bytes.to_string()),
        request_id: Some(GENERATED_ID.to_owned()),
        removed: Vec::new(),
    }
}

pub(super) fn send_all(
    mut gateway: Gateway,
    messages: impl IntoIterator<Item = ProcessingRequest>,
) -> Vec<Observed> {
    messages.into_iter().flat_map(|message| gateway.send(message)).collect()
}

pub(super) fn without_pick(observed: Vec<Observed>) -> Vec<Observed> {
    observed.into_iter().filter(|observed| !matches!(observed, Observed::Pick(_))).collect()
}

pub(crate) fn with_metadata(
    message: ProcessingRequest,
    namespace: &str,
    key: &str,
    kind: Kind,
) -> ProcessingRequest {
    let fields = [(key.to_owned(), Value { kind: Some(kind) })].into();
    let filter_metadata = [(namespace.to_owned(), Struct { fields })].into();
    ProcessingRequest { metadata_context: Some(Metadata { filter_metadata }), ..message }
}

/// Returns the reply that the gateway receives for this destination.
pub(super) fn destination_header(destination: Destination) -> String {
    let observed = send_all(Gateway::with(Config::default(), Ok(destination)), [request_headers(&GET, true)]);
    let Observed::Routed(routed) = &observed[1] else { panic!("{observed:?}") };
    routed.destination.clone()
}

pub(super) fn refusal(observed: &[Observed]) -> (i32, &str, Option<&str>) {
    let [.., Observed::Refused { status, body, reason, .. }, Observed::Close] = observed else {
        panic!("{observed:?}")
    };
    (*status, body, reason.as_deref())
}
