//! Reads the metadata in which a gateway names endpoints: those it allows for a request, and the one that
//! serves it.

use std::net::SocketAddr;

use prost_types::Value;
use prost_types::value::Kind;
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_types::Subset;

/// Namespace of the allowed endpoints. A header with the name of the key is ignored: any client could send
/// one.
const SUBSET_NAMESPACE: &str = "envoy.lb.subset_hint";
const SUBSET_KEY: &str = "x-gateway-destination-endpoint-subset";

const SERVED_NAMESPACE: &str = "envoy.lb";
const SERVED_KEY: &str = "x-gateway-destination-endpoint-served";

/// Returns the endpoints that `metadata` allows, or `None` if it names none. A value that is neither a list
/// nor text allows no endpoint.
pub(crate) fn allowed_subset(metadata: Option<&Metadata>) -> Option<Subset> {
    let hint = metadata?.filter_metadata.get(SUBSET_NAMESPACE)?.fields.get(SUBSET_KEY)?;
    Some(match &hint.kind {
        Some(Kind::StringValue(text)) => Subset::from_iter([text.as_str()]),
        Some(Kind::ListValue(list)) => list.values.iter().filter_map(text).collect(),
        _ => Subset::default(),
    })
}

/// Returns the endpoint that serves the request according to `metadata`.
pub(crate) fn serving_endpoint(metadata: Option<&Metadata>) -> Option<SocketAddr> {
    text(metadata?.filter_metadata.get(SERVED_NAMESPACE)?.fields.get(SERVED_KEY)?)?.trim().parse().ok()
}

fn text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost_types::{ListValue, Struct};

    use super::*;

    fn hinted(kind: Kind) -> Option<Subset> {
        let fields = [(SUBSET_KEY.to_owned(), Value { kind: Some(kind) })].into();
        allowed_subset(Some(&Metadata {
            filter_metadata: [(SUBSET_NAMESPACE.to_owned(), Struct { fields })].into(),
        }))
    }

    #[test]
    fn subset_is_a_list_or_text() {
        let text = |text: &str| Kind::StringValue(text.to_owned());
        let list = |kinds: Vec<Kind>| {
            let values = kinds.into_iter().map(|kind| Value { kind: Some(kind) }).collect();
            Kind::ListValue(ListValue { values })
        };
        let both = Some(Subset::from_iter(["10.0.0.1:8000", "10.0.0.2"]));
        assert_eq!(both, hinted(text("10.0.0.1:8000, 10.0.0.2")));
        assert_eq!(both, hinted(list(vec![text("10.0.0.1:8000"), Kind::NumberValue(1.0), text("10.0.0.2")])));
        assert_eq!(Some(Subset::default()), hinted(list(vec![])));
        assert_eq!(Some(Subset::default()), hinted(Kind::BoolValue(true)));
    }

    #[test]
    fn serving_endpoint_needs_a_port() {
        let served_from = |text: &str| {
            let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
            let fields = [(SERVED_KEY.to_owned(), value)].into();
            let filter_metadata = [(SERVED_NAMESPACE.to_owned(), Struct { fields })].into();
            serving_endpoint(Some(&Metadata { filter_metadata }))
        };
        assert_eq!(Some(([10, 0, 0, 1], 8000).into()), served_from("10.0.0.1:8000"));
        assert_eq!("[fd00::1]:8000".parse().ok(), served_from("[fd00::1]:8000"));
        assert_eq!(None, served_from("10.0.0.1"));
        assert_eq!(None, serving_endpoint(None));
    }

    #[test]
    fn missing_subset_allows_all() {
        assert_eq!(None, allowed_subset(None));
        let other = [("envoy.lb".to_owned(), Struct::default())].into();
        assert_eq!(None, allowed_subset(Some(&Metadata { filter_metadata: other })));
        let empty = [(SUBSET_NAMESPACE.to_owned(), Struct::default())].into();
        assert_eq!(None, allowed_subset(Some(&Metadata { filter_metadata: empty })));
    }
}
