//! Bounds the handshakes that are open at a time, in total and per client address. A new one beyond a limit takes the
//! place of the oldest, so that connections which stall theirs keep nobody out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// Maximum of open handshakes.
const MAX_TOTAL: usize = 4_096;

/// Maximum of open handshakes from one address.
const MAX_PER_ADDRESS: usize = 256;

/// Bits of an IPv6 address that one client chooses freely.
const IPV6_HOST_BITS: u32 = 64;

/// The open handshakes. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Handshakes(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// Number of handshakes so far.
    begun: u64,
    /// The open ones by their numbers: each with its client, and what tells it to end.
    all: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
    by_client: BTreeMap<IpAddr, BTreeSet<u64>>,
}

/// One open handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    handshakes: Handshakes,
    number: u64,
    gave_way: oneshot::Receiver<()>,
}

impl Handshakes {
    /// Returns a new handshake with a client at `address`. It may take the place of another one.
    pub(super) fn begin(&self, address: IpAddr) -> Handshake {
        let (end, gave_way) = oneshot::channel();
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let number = open.add(network(address), end);
        Handshake { handshakes: self.clone(), number, gave_way }
    }
}

impl Open {
    /// Adds a handshake, in place of the oldest one of its client, or of all, if there are too many. Returns its number.
    fn add(&mut self, client: IpAddr, end: oneshot::Sender<()>) -> u64 {
        let of_client = self.by_client.get(&client).filter(|numbers| numbers.len() >= MAX_PER_ADDRESS);
        let oldest = match of_client {
            Some(numbers) => numbers.first().copied(),
            None if self.all.len() >= MAX_TOTAL => self.all.keys().next().copied(),
            None => None,
        };
        oldest.into_iter().for_each(|oldest| self.remove(oldest));
        self.begun += 1;
        self.all.insert(self.begun, (client, end));
        self.by_client.entry(client).or_default().insert(self.begun);
        self.begun
    }

    /// Removes a handshake, and tells it to end. Does nothing if it is removed already.
    fn remove(&mut self, number: u64) {
        let Some((client, _end)) = self.all.remove(&number) else { return };
        if let Some(numbers) = self.by_client.get_mut(&client) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Handshake {
    /// Waits until a newer handshake takes the place of this one.
    pub(super) async fn gave_way(&mut self) {
        // The sender is dropped, and never used.
        let _ = (&mut self.gave_way).await;
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.handshakes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(self.number);
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

    fn has_given_way(handshake: &mut Handshake) -> bool {
        handshake.gave_way.try_recv() == Err(oneshot::error::TryRecvError::Closed)
    }

    #[test]
    fn newest_handshake_of_an_address_takes_the_place_of_its_oldest() {
        let handshakes = Handshakes::default();
        let begin = |text: &str| handshakes.begin(address(text));
        let mut other = begin("10.0.0.2");
        let mut silent: Vec<_> = (0..MAX_PER_ADDRESS).map(|_| begin("10.0.0.1")).collect();
        assert!(!silent.iter_mut().any(has_given_way));
        let mut newer = [begin("10.0.0.1"), begin("::ffff:10.0.0.1")];
        assert!(silent[..2].iter_mut().all(has_given_way));
        // One that has ended makes room.
        drop(silent.pop());
        let _another = begin("10.0.0.1");
        assert!(!silent[2..].iter_mut().chain(&mut newer).chain([&mut other]).any(has_given_way));
    }

    #[test]
    fn ipv6_network_counts_as_one_client_and_the_total_is_bounded() {
        let handshakes = Handshakes::default();
        let host = |network: usize, host: usize| address(&format!("2001:db8:0:{network:x}::{host:x}"));
        let mut open = Vec::new();
        for network in 0..MAX_TOTAL / MAX_PER_ADDRESS {
            open.extend((0..MAX_PER_ADDRESS).map(|number| handshakes.begin(host(network, number))));
        }
        let mut newest = handshakes.begin(host(1, MAX_PER_ADDRESS));
        assert!(has_given_way(&mut open[MAX_PER_ADDRESS]) && !has_given_way(&mut open[0]));
        let other = handshakes.begin(address("10.0.0.1"));
        assert!(has_given_way(&mut open[0]) && !has_given_way(&mut newest));
        assert_eq!(MAX_TOTAL, handshakes.0.lock().unwrap().all.len());
        drop((open, newest, other));
        let left = handshakes.0.lock().unwrap();
        assert!(left.all.is_empty() && left.by_client.is_empty());
    }
}
