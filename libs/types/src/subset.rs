//! The subset of endpoints that the gateway allows for a request.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The endpoints that the gateway allows for one request. Each entry is an IP address, with or without a
/// port. An empty subset allows no endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subset(Vec<Allowed>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Allowed {
    Port(SocketAddr),
    AnyPort(IpAddr),
}

impl Subset {
    /// Returns whether the endpoint at `address` is allowed.
    pub fn allows(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|allowed| match allowed {
            Allowed::Port(entry) => *entry == address,
            Allowed::AnyPort(ip) => *ip == address.ip(),
        })
    }

    /// Adds the comma-separated entries in `text`: `IP` or `IP:PORT`, IPv6 with or without brackets. Invalid
    /// entries allow no endpoint.
    pub fn add(&mut self, text: &str) {
        let parse = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            let with_port = text.parse().map(Allowed::Port).ok();
            with_port.or_else(|| bare.parse().map(Allowed::AnyPort).ok())
        };
        self.0.extend(text.split(',').filter_map(|text| parse(text.trim())));
    }
}

impl<'a> FromIterator<&'a str> for Subset {
    fn from_iter<T: IntoIterator<Item = &'a str>>(texts: T) -> Self {
        let mut subset = Self::default();
        texts.into_iter().for_each(|text| subset.add(text));
        subset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(list: &str, address: &str) -> bool {
        Subset::from_iter([list]).allows(address.parse().unwrap())
    }

    #[test]
    fn port_is_compared_only_when_given() {
        assert!(allows("10.0.0.1, 10.0.0.2:8000", "10.0.0.1:7"));
        assert!(allows("10.0.0.1, 10.0.0.2:8000", "10.0.0.2:8000"));
        assert!(!allows("10.0.0.1, 10.0.0.2:8000", "10.0.0.2:8001"));
        assert!(allows("[fd00::1]:80,[fd00::2],fd00::3", "[fd00::1]:80"));
        assert!(allows("[fd00::1]:80,[fd00::2],fd00::3", "[fd00::2]:1"));
        assert!(allows("[fd00::1]:80,[fd00::2],fd00::3", "[fd00::3]:1"));
    }

    #[test]
    fn invalid_entries_allow_no_endpoint() {
        for bad in ["", ",", "pod-a:80", "10.0.0.1:", "10.0.0.1:99999", "[10.0.0"] {
            assert!(!allows(bad, "10.0.0.1:80"), "{bad}");
        }
    }
}
