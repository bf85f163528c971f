//! What a gateway says of endpoints: which it allows for a request, and which has served it.

use std::net::SocketAddr;

use prost_types::Value;
use prost_types::value::Kind;
use signalbox_protos::envoy::config::core::v3::Metadata;
use signalbox_types::Subset;

/// Where a gateway's metadata has them. A header of that name counts for nothing: any client could send one.
const NAMESPACE: &str = "envoy.lb.subset_hint";
const KEY: &str = "x-gateway-destination-endpoint-subset";

const SERVED_NAMESPACE: &str = "envoy.lb";
const SERVED_KEY: &str = "x-gateway-destination-endpoint-served";

/// The endpoints that `metadata` allows; `None` where it says nothing about them. What is neither a list nor text allows none.
pub(crate) fn subset(metadata: Option<&Metadata>) -> Option<Subset> {
    let hint = metadata?.filter_metadata.get(NAMESPACE)?.fields.get(KEY)?;
    Some(match &hint.kind {
        Some(Kind::StringValue(text)) => Subset::from_iter([text.as_str()]),
        Some(Kind::ListValue(list)) => list.values.iter().filter_map(text).collect(),
        _ => Subset::default(),
    })
}

/// The endpoint that has served a request, as `metadata` tells.
pub(crate) fn served(metadata: Option<&Metadata>) -> Option<SocketAddr> {
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
        let fields = [(KEY.to_owned(), Value { kind: Some(kind) })].into();
        subset(Some(&Metadata { filter_metadata: [(NAMESPACE.to_owned(), Struct { fields })].into() }))
    }

    #[test]
    fn a_list_or_text_names_the_endpoints() {
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
    fn the_endpoint_that_served_is_told_with_its_port() {
        let told = |text: &str| {
            let value = Value { kind: Some(Kind::StringValue(text.to_owned())) };
            let fields = [(SERVED_KEY.to_owned(), value)].into();
            let filter_metadata = [(SERVED_NAMESPACE.to_owned(), Struct { fields })].into();
            served(Some(&Metadata { filter_metadata }))
        };
        assert_eq!(Some(([10, 0, 0, 1], 8000).into()), told("10.0.0.1:8000"));
        assert_eq!("[fd00::1]:8000".parse().ok(), told("[fd00::1]:8000"));
        assert_eq!(None, told("10.0.0.1"));
        assert_eq!(None, served(None));
    }

    #[test]
    fn silence_allows_all() {
        assert_eq!(None, subset(None));
        let other = [("envoy.lb".to_owned(), Struct::default())].into();
        assert_eq!(None, subset(Some(&Metadata { filter_metadata: other })));
        let empty = [(NAMESPACE.to_owned(), Struct::default())].into();
        assert_eq!(None, subset(Some(&Metadata { filter_metadata: empty })));
    }
}
