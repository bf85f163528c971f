//! Where a request is to go.

use std::fmt;
use std::net::SocketAddr;

/// The endpoint that a request is to go to, in the form in which gateways are told. Cheap to clone: make it once per
/// endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination(bytes::Bytes);

impl Destination {
    /// The name of the request header, and of the key in the metadata, that tells a gateway the destination.
    pub const KEY: &'static str = "x-gateway-destination-endpoint";

    pub(crate) fn as_bytes(&self) -> &bytes::Bytes {
        &self.0
    }

    /// `ip:port`, an IPv6 address in brackets.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).expect("made from a string")
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string().into())
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_stands_in_brackets() {
        for text in ["10.0.0.1:8000", "[fd00::1]:8000"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Destination::from(address).to_string(), text);
        }
    }
}
