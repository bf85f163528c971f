//! A coordinator in this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use signalbox_types::{PeerAddress, PoolId};

use crate::board::Board;
use crate::keys::{self, Facts};
use crate::ledger::{Event, Ledger};
use crate::{Claim, ClaimError, Member, Owner};

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) board: Board,
    leases: AtomicU64,
    held: Mutex<Held>,
}

/// Whose each key is.
type Held = BTreeMap<String, u64>;

impl Default for Hub {
    fn default() -> Self {
        let board = Board::default();
        // It is heard from the first moment on.
        board.update(|ledger| ledger.listed(Facts::new(), Instant::now(), Duration::ZERO));
        Self { board, leases: AtomicU64::default(), held: Mutex::default() }
    }
}

impl Hub {
    pub(crate) fn publish(&self, pool: &PoolId, signal: &Bytes) {
        self.board.update(|ledger| put(ledger, keys::signal_key(pool), signal.to_vec()));
    }

    pub(crate) fn published(&self, pool: &PoolId) -> Option<Bytes> {
        self.board.read(|ledger| ledger.get(&keys::signal_key(pool)).map(|signal| signal.clone().into()))
    }

    fn with<R>(&self, change: impl FnOnce(&mut Held, &mut Ledger) -> R) -> R {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.board.update(|ledger| change(&mut held, ledger))
    }

    fn end(&self, lease: u64) {
        self.with(|held, ledger| {
            held.retain(|key, holder| {
                let stays = *holder != lease;
                if !stays {
                    delete(ledger, key.clone());
                }
                stays
            });
        });
    }
}

fn put(ledger: &mut Ledger, key: String, value: Vec<u8>) {
    ledger.changed(Event::Put(key, value), Instant::now());
}

fn delete(ledger: &mut Ledger, key: String) {
    ledger.changed(Event::Deleted(key), Instant::now());
}

#[derive(Debug)]
pub(crate) struct Lease {
    hub: Arc<Hub>,
    id: u64,
    name: String,
    ttl: Duration,
    has_left: AtomicBool,
}

impl Lease {
    pub(crate) fn start(hub: Arc<Hub>, member: Member, ttl: Duration) -> Self {
        let id = hub.leases.fetch_add(1, Ordering::Relaxed);
        let key = keys::member_key(member.role, &member.name);
        hub.with(|held, ledger| {
            held.insert(key.clone(), id);
            put(ledger, key, keys::member_value(&member));
        });
        Self { hub, id, name: member.name, ttl, has_left: AtomicBool::new(false) }
    }

    pub(crate) fn claim(
        &self,
        pool: &PoolId,
        address: &PeerAddress,
        above: u64,
    ) -> Result<Claim, ClaimError> {
        let (owner_key, epoch_key) = (keys::owner_key(pool), keys::epoch_key(pool));
        self.hub.with(|held, ledger| {
            if self.has_left.load(Ordering::Relaxed) {
                return Err(ClaimError::Unavailable("this process is not registered".to_owned()));
            }
            let is_held = held.get(&owner_key).is_some_and(|holder| *holder != self.id);
            if is_held && let Some(owner) = ledger.get(&owner_key).and_then(|value| keys::owner(value)) {
                return Err(ClaimError::Held(owner));
            }
            let previous = ledger.get(&epoch_key).and_then(|value| keys::epoch(value));
            let claim = Claim::next(previous, above.max(wall_ms()))?;
            let owner = Owner { name: self.name.clone(), address: address.clone(), epoch: claim.epoch };
            put(ledger, owner_key.clone(), keys::owner_value(&owner));
            put(ledger, epoch_key, claim.epoch.to_string().into_bytes());
            held.insert(owner_key, self.id);
            Ok(claim)
        })
    }

    pub(crate) fn release(&self, pool: &PoolId) {
        let key = keys::owner_key(pool);
        self.hub.with(|held, ledger| {
            if held.get(&key) == Some(&self.id) {
                held.remove(&key);
                delete(ledger, key);
            }
        });
    }

    pub(crate) fn leave(&self) {
        // Before the end: no claim comes in between, because claims look while nothing else changes.
        self.has_left.store(true, Ordering::Relaxed);
        self.hub.end(self.id);
    }
}

impl Drop for Lease {
    /// As when a process dies: the lease runs out.
    fn drop(&mut self) {
        let (hub, id, ttl) = (Arc::clone(&self.hub), self.id, self.ttl);
        // Without a runtime there is nobody left to see it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(ttl).await;
                hub.end(id);
            });
        }
    }
}

/// So that epochs of a process that was started anew are above those of its last life.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
