//! Bounds the handshakes that are open at a time, in total and per client address, so that clients which stall
//! theirs cannot keep others out.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum of open handshakes.
const MAX_TOTAL: usize = 4_096;

/// Maximum of open handshakes from one address.
const MAX_PER_ADDRESS: usize = 256;

/// Bits of an IPv6 address that one client chooses freely.
const IPV6_HOST_BITS: u32 = 64;

/// The open handshakes by client address. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// One open handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    handshakes: Handshakes,
    network: IpAddr,
}

impl Handshakes {
    /// Returns a new handshake with a client at `address`, or `None` if too many are open.
    pub(super) fn begin(&self, address: IpAddr) -> Option<Handshake> {
        let network = network(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.values().sum::<usize>() >= MAX_TOTAL {
            return None;
        }
        let of_network = open.entry(network).or_default();
        if *of_network >= MAX_PER_ADDRESS {
            return None;
        }
        *of_network += 1;
        Some(Handshake { handshakes: self.clone(), network })
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut open = self.handshakes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_network) = open.get_mut(&self.network) {
            *of_network -= 1;
            if *of_network == 0 {
                open.remove(&self.network);
            }
        }
    }
}

/// Returns the addresses that count as one client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn silent_clients_of_one_address_keep_no_other_address_out() {
        let handshakes = Handshakes::default();
        let begin = |text: &str| handshakes.begin(address(text));
        let mut silent: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| begin("10.0.0.1").unwrap()).collect();
        assert!(begin("10.0.0.1").is_none() && begin("::ffff:10.0.0.1").is_none());
        assert!(begin("10.0.0.2").is_some());
        silent.pop();
        assert!(begin("10.0.0.1").is_some());
    }

    #[test]
    fn ipv6_network_counts_as_one_client_and_the_total_is_bounded() {
        let handshakes = Handshakes::default();
        let host = |network: usize, host: usize| address(&format!("2001:db8:0:{network:x}::{host:x}"));
        let mut open = Vec::new();
        for network in 0..MAX_TOTAL / MAX_PER_ADDRESS {
            open.extend((0..MAX_PER_ADDRESS).map(|number| handshakes.begin(host(network, number)).unwrap()));
            assert!(handshakes.begin(host(network, MAX_PER_ADDRESS)).is_none());
        }
        assert!(handshakes.begin(address("10.0.0.1")).is_none());
        open.clear();
        assert!(handshakes.0.lock().unwrap().is_empty());
    }
}
