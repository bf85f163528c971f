//! A coordinator inside this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use signalbox_types::{PeerAddress, PoolId};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::StoreError;
use crate::membership::Member;
use crate::ownership::{Claim, ClaimError, ClaimRequest, Owner};
use crate::registry::keys::{self, Entries};
use crate::registry::{Event, Registry, RegistryContents};
use crate::renewal_gate::RenewalGate;

#[derive(Debug)]
pub(crate) struct LocalCoordinator {
    pub(crate) registry: Registry,
    next_lease: AtomicU64,
    holders: Mutex<Holders>,
}

/// The lease that each key is bound to.
type Holders = BTreeMap<String, u64>;

impl Default for LocalCoordinator {
    fn default() -> Self {
        let registry = Registry::default();
        // It is available from the start.
        registry.update(|contents| contents.replace(Entries::new(), Instant::now(), Duration::ZERO));
        Self { registry, next_lease: AtomicU64::default(), holders: Mutex::default() }
    }
}

impl LocalCoordinator {
    pub(crate) fn store_signal(&self, pool: &PoolId, epoch: u64, signal: &Bytes) -> Result<(), StoreError> {
        self.registry.update(|contents| {
            let last = contents.get(&keys::epoch_key(pool)).and_then(|value| keys::decode_epoch(value));
            StoreError::check_rank(epoch, last)?;
            put(contents, keys::signal_key(pool), signal.to_vec());
            Ok(())
        })
    }

    pub(crate) fn read_signal(&self, pool: &PoolId) -> Option<Bytes> {
        self.registry
            .read(|contents| contents.get(&keys::signal_key(pool)).map(|signal| signal.clone().into()))
    }

    fn update<R>(&self, update: impl FnOnce(&mut Holders, &mut RegistryContents) -> R) -> R {
        let mut holders = self.holders.lock().unwrap_or_else(PoisonError::into_inner);
        self.registry.update(|contents| update(&mut holders, contents))
    }

    fn end_lease(&self, lease: u64) {
        self.update(|holders, contents| {
            holders.retain(|key, holder| {
                let stays = *holder != lease;
                if !stays {
                    delete(contents, key.clone());
                }
                stays
            });
        });
    }
}

fn put(contents: &mut RegistryContents, key: String, value: Vec<u8>) {
    contents.apply(Event::Put(key, value), Instant::now());
}

fn delete(contents: &mut RegistryContents, key: String) {
    contents.apply(Event::Deleted(key), Instant::now());
}

/// A member's registration.
#[derive(Debug)]
struct Registration {
    coordinator: Arc<LocalCoordinator>,
    lease: u64,
    member: Member,
    ttl: Duration,
    has_left: AtomicBool,
}

impl Registration {
    fn register(&self) {
        let key = self.member_key();
        self.coordinator.update(|holders, contents| {
            // A process that left may have been asked to register before.
            if !self.has_left.load(Ordering::Relaxed) {
                holders.insert(key.clone(), self.lease);
                put(contents, key, keys::encode_member(&self.member));
            }
        });
    }

    /// Lets the lease end when the gate was closed for its time to live, and registers again when it is open.
    async fn keep(self: Arc<Self>, mut gate: RenewalGate) {
        loop {
            gate.closed().await;
            if timeout(self.ttl, gate.opened()).await.is_err() {
                self.coordinator.end_lease(self.lease);
                gate.opened().await;
                self.register();
            }
        }
    }

    fn member_key(&self) -> String {
        keys::member_key(self.member.role, &self.member.name)
    }
}

#[derive(Debug)]
pub(crate) struct Lease {
    registration: Arc<Registration>,
    /// Ends with the lease.
    _keeper: Option<JoinSet<()>>,
}

impl Lease {
    pub(crate) fn start(
        coordinator: Arc<LocalCoordinator>,
        member: Member,
        ttl: Duration,
        gate: RenewalGate,
    ) -> Self {
        let lease = coordinator.next_lease.fetch_add(1, Ordering::Relaxed);
        let has_left = AtomicBool::new(false);
        let registration = Arc::new(Registration { coordinator, lease, member, ttl, has_left });
        registration.register();
        let keep = |gate| JoinSet::from_iter([Arc::clone(&registration).keep(gate)]);
        let keeper = Some(gate).filter(RenewalGate::can_close).map(keep);
        Self { registration, _keeper: keeper }
    }

    pub(crate) fn claim(
        &self,
        pool: &PoolId,
        address: &PeerAddress,
        request: ClaimRequest,
    ) -> Result<Claim, ClaimError> {
        let (owner_key, epoch_key) = (keys::owner_key(pool), keys::epoch_key(pool));
        let Registration { coordinator, lease, member, .. } = &*self.registration;
        let member_key = self.registration.member_key();
        coordinator.update(|holders, contents| {
            if holders.get(&member_key) != Some(lease) {
                return Err(ClaimError::Unavailable("this process is not registered".to_owned()));
            }
            let is_held = holders.get(&owner_key).is_some_and(|holder| holder != lease);
            if is_held
                && let Some(owner) = contents.get(&owner_key).and_then(|value| keys::decode_owner(value))
                && request.is_refused_by(&owner)
            {
                return Err(ClaimError::Held(owner));
            }
            let previous = contents.get(&epoch_key).and_then(|value| keys::decode_epoch(value));
            let claim = Claim::next(previous, request.above.max(wall_clock_ms()))?;
            let owner = Owner { name: member.name.clone(), address: address.clone(), epoch: claim.epoch };
            put(contents, owner_key.clone(), keys::encode_owner(&owner));
            put(contents, epoch_key, claim.epoch.to_string().into_bytes());
            holders.insert(owner_key, *lease);
            Ok(claim)
        })
    }

    pub(crate) fn release(&self, pool: &PoolId) {
        let key = keys::owner_key(pool);
        self.registration.coordinator.update(|holders, contents| {
            if holders.get(&key) == Some(&self.registration.lease) {
                holders.remove(&key);
                delete(contents, key);
            }
        });
    }

    pub(crate) fn leave(&self) {
        // This comes before the end of the lease, so that the process does not register again: that checks it under
        // the lock.
        self.registration.has_left.store(true, Ordering::Relaxed);
        self.registration.coordinator.end_lease(self.registration.lease);
    }
}

impl Drop for Lease {
    /// Lets the lease expire, as when a process dies.
    fn drop(&mut self) {
        let registration = Arc::clone(&self.registration);
        // Without a runtime there is no other session that could see the lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(registration.ttl).await;
                registration.coordinator.end_lease(registration.lease);
            });
        }
    }
}

/// Milliseconds since the Unix epoch. As a lower bound of epochs, it makes those of a restarted process
/// higher than those of its previous run.
fn wall_clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
