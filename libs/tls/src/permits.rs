//! Bounds what clients hold at a time, such as unfinished handshakes or connections, in total and per client address. A new
//! one beyond a limit takes the place of the oldest, so that clients which hold what they do not use keep nobody out.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use tokio::sync::oneshot;

/// Bits of an IPv6 address that one client chooses freely.
const IPV6_HOST_BITS: u32 = 64;

/// How many permits there are.
#[derive(Clone, Copy, Debug)]
pub struct PermitLimits {
    /// In total.
    pub total: usize,
    /// For one IPv4 address, or one /64 network of IPv6.
    pub per_address: usize,
}

/// Issues permits. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Permits(Arc<Mutex<Issued>>);

#[derive(Debug)]
struct Issued {
    limits: PermitLimits,
    /// Number of permits so far.
    count: u64,
    /// Those that are in use, by their numbers: each with its client, and what revokes it.
    all: BTreeMap<u64, (IpAddr, oneshot::Sender<()>)>,
    by_client: BTreeMap<IpAddr, BTreeSet<u64>>,
}

/// A permit. It is in use until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    handle: PermitHandle,
    revocation: Revocation,
}

/// Gives a permit back before what has it ends. Clones are for the same permit.
#[derive(Clone, Debug)]
pub struct PermitHandle {
    permits: Permits,
    number: u64,
}

#[derive(Debug)]
enum Revocation {
    Possible(oneshot::Receiver<()>),
    Revoked,
    Impossible,
}

impl Permits {
    pub(crate) fn new(limits: PermitLimits) -> Self {
        let (all, by_client) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Issued { limits, count: 0, all, by_client })))
    }

    /// Issues a permit for a client at `address`. That may revoke another one.
    pub(crate) fn issue(&self, address: IpAddr) -> Permit {
        let (revoke, revoked) = oneshot::channel();
        let number = self.issued().add(network(address), revoke);
        let handle = PermitHandle { permits: self.clone(), number };
        Permit { handle, revocation: Revocation::Possible(revoked) }
    }

    fn issued(&self) -> MutexGuard<'_, Issued> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issued {
    /// Adds a permit, in place of the oldest one of its client, or of all, if there are too many. Returns its number.
    fn add(&mut self, client: IpAddr, revoke: oneshot::Sender<()>) -> u64 {
        let PermitLimits { total, per_address } = self.limits;
        let of_client = self.by_client.get(&client).filter(|numbers| numbers.len() >= per_address);
        let oldest = match of_client {
            Some(numbers) => numbers.first().copied(),
            None if self.all.len() >= total => self.all.keys().next().copied(),
            None => None,
        };
        if let Some(revoke) = oldest.and_then(|oldest| self.remove(oldest)) {
            // Its owner may be about to drop it.
            let _ = revoke.send(());
        }
        self.count += 1;
        self.all.insert(self.count, (client, revoke));
        self.by_client.entry(client).or_default().insert(self.count);
        self.count
    }

    /// Removes a permit, and returns what revokes it; `None` if it is removed already.
    fn remove(&mut self, number: u64) -> Option<oneshot::Sender<()>> {
        let (client, revoke) = self.all.remove(&number)?;
        if let Some(numbers) = self.by_client.get_mut(&client) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_client.remove(&client);
            }
        }
        Some(revoke)
    }
}

impl Permit {
    /// Waits until the permit is revoked.
    pub(crate) async fn revoked(&mut self) {
        poll_fn(|context| self.poll_revoked(context)).await;
    }

    /// Polls whether the permit is revoked. Once ready, it stays so.
    pub(crate) fn poll_revoked(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Revocation::Possible(revoked) = &mut self.revocation
            && let Poll::Ready(told) = Pin::new(revoked).poll(context)
        {
            // One that was given back is told nothing any more.
            self.revocation = if told.is_ok() { Revocation::Revoked } else { Revocation::Impossible };
        }
        if matches!(self.revocation, Revocation::Revoked) { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(crate) fn handle(&self) -> &PermitHandle {
        &self.handle
    }
}

impl PermitHandle {
    /// Gives the permit back, unless it is revoked. What had it needs none any more.
    pub fn give_back(&self) {
        drop(self.permits.issued().remove(self.number));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.handle.give_back();
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
    use std::task::Waker;

    use super::*;

    const LIMITS: PermitLimits = PermitLimits { total: 64, per_address: 16 };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_revoked(permit: &mut Permit) -> bool {
        permit.poll_revoked(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn newest_permit_of_an_address_takes_the_place_of_its_oldest() {
        let permits = Permits::new(LIMITS);
        let issue = |text: &str| permits.issue(address(text));
        let mut other = issue("10.0.0.2");
        let mut silent: Vec<_> = (0..LIMITS.per_address).map(|_| issue("10.0.0.1")).collect();
        assert!(!silent.iter_mut().any(is_revoked));
        let mut newer = [issue("10.0.0.1"), issue("::ffff:10.0.0.1")];
        assert!(silent[..2].iter_mut().all(is_revoked) && silent[..2].iter_mut().all(is_revoked));
        // One that has ended makes room.
        drop(silent.pop());
        let _another = issue("10.0.0.1");
        assert!(!silent[2..].iter_mut().chain(&mut newer).chain([&mut other]).any(is_revoked));
    }

    #[test]
    fn ipv6_network_counts_as_one_client_and_the_total_is_bounded() {
        let permits = Permits::new(LIMITS);
        let host = |network: usize, host: usize| address(&format!("2001:db8:0:{network:x}::{host:x}"));
        let mut all = Vec::new();
        for network in 0..LIMITS.total / LIMITS.per_address {
            all.extend((0..LIMITS.per_address).map(|number| permits.issue(host(network, number))));
        }
        let mut newest = permits.issue(host(1, LIMITS.per_address));
        assert!(is_revoked(&mut all[LIMITS.per_address]) && !is_revoked(&mut all[0]));
        let other = permits.issue(address("10.0.0.1"));
        assert!(is_revoked(&mut all[0]) && !is_revoked(&mut newest));
        assert_eq!(LIMITS.total, permits.issued().all.len());
        drop((all, newest, other));
        let left = permits.issued();
        assert!(left.all.is_empty() && left.by_client.is_empty());
    }

    #[test]
    fn permit_that_was_given_back_is_not_revoked() {
        let permits = Permits::new(LIMITS);
        let mut stays = permits.issue(address("10.0.0.1"));
        stays.handle().give_back();
        let mut others: Vec<_> =
            (0..LIMITS.per_address).map(|_| permits.issue(address("10.0.0.1"))).collect();
        assert!(!others.iter_mut().chain([&mut stays]).any(is_revoked));
        let _newest = permits.issue(address("10.0.0.1"));
        assert!(is_revoked(&mut others[0]) && !is_revoked(&mut stays));
    }
}
