//! Where another process of Signalbox is.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// Where another process of Signalbox listens: `HOST:PORT`, the host a name, an IPv4 address, or an IPv6 address in brackets.
/// A name is looked up at each connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress(String);

impl PeerAddress {
    /// The host, a name or an IP address without brackets.
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it is on this machine, whatever the network does.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl FromStr for PeerAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
        let is_name = |host: &str| {
            let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            !host.is_empty() && host.chars().all(is_part)
        };
        let named = text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && is_port(port));
        let numbered = text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
        if named || numbered {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("\"{text}\" is no address of the form HOST:PORT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known_by_its_address_and_by_no_name_but_one() {
        let of = |text: &str| text.parse::<PeerAddress>().unwrap();
        for (text, host) in [("127.0.0.9:1", "127.0.0.9"), ("[::1]:2", "::1"), ("localhost:3", "localhost")] {
            assert!(of(text).is_loopback());
            assert_eq!(host, of(text).host());
        }
        for text in ["10.0.0.1:1", "[fd00::1]:2", "localhost.example:3"] {
            assert!(!of(text).is_loopback());
        }
    }

    #[test]
    fn names_and_numbers_with_a_port_are_addresses() {
        for good in ["a:1", "10.0.0.1:9200", "[::1]:2", "signalbox-0.signalbox:9200"] {
            assert_eq!(Ok(good.to_owned()), good.parse::<PeerAddress>().map(|address| address.to_string()));
        }
        for bad in ["nowhere", "http://a:1", "a:99999", "a:0", "u@a:1", "a:1/path", "::1:2", ""] {
            assert!(bad.parse::<PeerAddress>().unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }
}
