//! A coordinator inside this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use signalbox_types::{PeerAddress, PoolId};

use crate::membership::Member;
use crate::ownership::{Claim, ClaimError, ClaimRequest, Owner};
use crate::registry::keys::{self, Entries};
use crate::registry::{Event, Registry, RegistryContents};

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
    pub(crate) fn publish_signal(&self, pool: &PoolId, signal: &Bytes) {
        self.registry.update(|contents| put(contents, keys::signal_key(pool), signal.to_vec()));
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

#[derive(Debug)]
pub(crate) struct Lease {
    coordinator: Arc<LocalCoordinator>,
    id: u64,
    name: String,
    ttl: Duration,
    has_left: AtomicBool,
}

impl Lease {
    pub(crate) fn start(coordinator: Arc<LocalCoordinator>, member: Member, ttl: Duration) -> Self {
        let id = coordinator.next_lease.fetch_add(1, Ordering::Relaxed);
        let key = keys::member_key(member.role, &member.name);
        coordinator.update(|holders, contents| {
            holders.insert(key.clone(), id);
            put(contents, key, keys::encode_member(&member));
        });
        Self { coordinator, id, name: member.name, ttl, has_left: AtomicBool::new(false) }
    }

    pub(crate) fn claim(
        &self,
        pool: &PoolId,
        address: &PeerAddress,
        request: ClaimRequest,
    ) -> Result<Claim, ClaimError> {
        let (owner_key, epoch_key) = (keys::owner_key(pool), keys::epoch_key(pool));
        self.coordinator.update(|holders, contents| {
            if self.has_left.load(Ordering::Relaxed) {
                return Err(ClaimError::Unavailable("this process is not registered".to_owned()));
            }
            let is_held = holders.get(&owner_key).is_some_and(|holder| *holder != self.id);
            if is_held
                && let Some(owner) = contents.get(&owner_key).and_then(|value| keys::decode_owner(value))
                && request.is_refused_by(&owner)
            {
                return Err(ClaimError::Held(owner));
            }
            let previous = contents.get(&epoch_key).and_then(|value| keys::decode_epoch(value));
            let claim = Claim::next(previous, request.above.max(wall_clock_ms()))?;
            let owner = Owner { name: self.name.clone(), address: address.clone(), epoch: claim.epoch };
            put(contents, owner_key.clone(), keys::encode_owner(&owner));
            put(contents, epoch_key, claim.epoch.to_string().into_bytes());
            holders.insert(owner_key, self.id);
            Ok(claim)
        })
    }

    pub(crate) fn release(&self, pool: &PoolId) {
        let key = keys::owner_key(pool);
        self.coordinator.update(|holders, contents| {
            if holders.get(&key) == Some(&self.id) {
                holders.remove(&key);
                delete(contents, key);
            }
        });
    }

    pub(crate) fn leave(&self) {
        // This comes before the end of the lease, so that no claim succeeds in between: claims check it under
        // the lock.
        self.has_left.store(true, Ordering::Relaxed);
        self.coordinator.end_lease(self.id);
    }
}

impl Drop for Lease {
    /// Lets the lease expire, as when a process dies.
    fn drop(&mut self) {
        let (coordinator, id, ttl) = (Arc::clone(&self.coordinator), self.id, self.ttl);
        // Without a runtime there is no other session that could see the lease.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(ttl).await;
                coordinator.end_lease(id);
            });
        }
    }
}

/// Milliseconds since the Unix epoch. As a lower bound of epochs, it makes those of a restarted process
/// higher than those of its previous run.
fn wall_clock_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
