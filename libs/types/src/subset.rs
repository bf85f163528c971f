//! The endpoints that a gateway allows for a request.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// The endpoints that a gateway allows for a request: each an address, or an address and a port. An empty one allows none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subset(Vec<Allowed>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Allowed {
    Port(SocketAddr),
    AnyPort(IpAddr),
}

impl Subset {
    /// Whether the endpoint at `address` is among them.
    pub fn allows(&self, address: SocketAddr) -> bool {
        self.0.iter().any(|allowed| match allowed {
            Allowed::Port(known) => *known == address,
            Allowed::AnyPort(ip) => *ip == address.ip(),
        })
    }

    /// Adds what `text` names: `IP` or `IP:PORT`, IPv6 in brackets or not, several with commas between. What is neither allows
    /// nobody.
    pub fn add(&mut self, text: &str) {
        let one = |text: &str| {
            let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
            let with_port = text.parse().map(Allowed::Port).ok();
            with_port.or_else(|| bare.parse().map(Allowed::AnyPort).ok())
        };
        self.0.extend(text.split(',').filter_map(|text| one(text.trim())));
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
    fn a_port_counts_where_it_is_given() {
        assert!(allows("10.0.0.1, 10.0.0.2:8000", "10.0.0.1:7"));
        assert!(allows("10.0.0.1, 10.0.0.2:8000", "10.0.0.2:8000"));
        assert!(!allows("10.0.0.1, 10.0.0.2:8000", "10.0.0.2:8001"));
        assert!(allows("[fd00::1]:80,[fd00::2],fd00::3", "[fd00::1]:80"));
        assert!(allows("[fd00::1]:80,[fd00::2],fd00::3", "[fd00::2]:1"));
        assert!(allows("[fd00::1]:80,[fd00::2],fd00::3", "[fd00::3]:1"));
    }

    #[test]
    fn what_is_no_address_allows_nobody() {
        for bad in ["", ",", "pod-a:80", "10.0.0.1:", "10.0.0.1:99999", "[10.0.0"] {
            assert!(!allows(bad, "10.0.0.1:80"), "{bad}");
        }
    }
}
