//! The address of another Signalbox process.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

/// The listen address of another Signalbox process, `HOST:PORT`. The host is a name, an IPv4 address, or an
/// IPv6 address in brackets. Names are resolved again for each connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerAddress(String);

impl PeerAddress {
    /// Returns the host: a name, or an IP address without brackets.
    pub fn host(&self) -> &str {
        let host = self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns whether the address always refers to this machine: `localhost` or a loopback IP address.
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
        let has_name = text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && is_port(port));
        let has_ip = text.parse::<SocketAddr>().is_ok_and(|address| address.port() > 0);
        if has_name || has_ip {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("\"{text}\" is not an address of the form HOST:PORT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_localhost_and_loopback_addresses_are_this_machine() {
        let address = |text: &str| text.parse::<PeerAddress>().unwrap();
        for (text, host) in [("127.0.0.9:1", "127.0.0.9"), ("[::1]:2", "::1"), ("localhost:3", "localhost")] {
            assert!(address(text).is_loopback());
            assert_eq!(host, address(text).host());
        }
        for text in ["10.0.0.1:1", "[fd00::1]:2", "localhost.example:3"] {
            assert!(!address(text).is_loopback());
        }
    }

    #[test]
    fn names_and_ip_addresses_need_a_port() {
        for good in ["a:1", "10.0.0.1:9200", "[::1]:2", "signalbox-0.signalbox:9200"] {
            assert_eq!(Ok(good.to_owned()), good.parse::<PeerAddress>().map(|address| address.to_string()));
        }
        for bad in ["nowhere", "http://a:1", "a:99999", "a:0", "u@a:1", "a:1/path", "::1:2", ""] {
            assert!(bad.parse::<PeerAddress>().unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }
}
