//! The coordinator's contents as this process knows them, with watchers.

mod contents;
pub(crate) mod keys;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use signalbox_types::PoolId;
use tokio::sync::watch;

use crate::membership::{Member, Role};
use crate::ownership::RegisteredOwner;

pub(crate) use contents::{Event, RegistryContents};

/// The members and owners that the coordinator last reported. Notifies watchers of changes.
#[derive(Debug, Default)]
pub(crate) struct Registry(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    contents: RegistryContents,
    members: BTreeMap<Role, watch::Sender<Vec<Member>>>,
    owners: BTreeMap<PoolId, watch::Sender<RegisteredOwner>>,
}

impl Registry {
    pub(crate) fn watch_members(&self, role: Role) -> watch::Receiver<Vec<Member>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = inner.contents.members(role);
        inner.members.entry(role).or_insert_with(|| watch::Sender::new(current)).subscribe()
    }

    pub(crate) fn watch_owner(&self, pool: &PoolId) -> watch::Receiver<RegisteredOwner> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = inner.contents.owner(pool);
        inner.owners.entry(pool.clone()).or_insert_with(|| watch::Sender::new(current)).subscribe()
    }

    /// Returns what `read` reads from the contents.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&RegistryContents) -> R) -> R {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner).contents)
    }

    /// Applies `update` to the contents and notifies the watchers of what changed.
    pub(crate) fn update<R>(&self, update: impl FnOnce(&mut RegistryContents) -> R) -> R {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = update(&mut inner.contents);
        for role in Role::ALL {
            if let Some(sender) = inner.members.get(&role) {
                send_if_changed(sender, inner.contents.members(role));
            }
        }
        let Inner { contents, owners, .. } = &mut *inner;
        // Pools come and go. Whoever watches one again learns its owner from the contents.
        owners.retain(|_, sender| sender.receiver_count() > 0);
        for (pool, sender) in owners {
            send_if_changed(sender, contents.owner(pool));
        }
        result
    }
}

/// Sends `value` if it differs from the last one.
pub(crate) fn send_if_changed<T: PartialEq>(sender: &watch::Sender<T>, value: T) {
    sender.send_if_modified(|last| {
        let is_changed = *last != value;
        *last = value;
        is_changed
    });
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::ownership::Owner;

    fn pool(name: &str) -> PoolId {
        PoolId { namespace: "default".to_owned(), name: name.to_owned() }
    }

    fn set_owner(registry: &Registry, pool: &PoolId, epoch: u64) -> Owner {
        let owner = Owner { name: "a".to_owned(), address: "a:1".parse().unwrap(), epoch };
        let event = Event::Put(keys::owner_key(pool), keys::encode_owner(&owner));
        registry.update(|contents| contents.apply(event, Instant::now()));
        owner
    }

    #[test]
    fn pool_that_nobody_watches_any_more_is_forgotten_until_it_is_watched_again() {
        let (registry, stays, goes) = (Registry::default(), pool("stays"), pool("goes"));
        let (watched, dropped) = (registry.watch_owner(&stays), registry.watch_owner(&goes));
        set_owner(&registry, &goes, 1);
        assert!(dropped.has_changed().unwrap());
        drop(dropped);
        let owner = set_owner(&registry, &stays, 2);
        assert_eq!(RegisteredOwner::Owned(owner), *watched.borrow());
        let known: Vec<PoolId> = registry.0.lock().unwrap().owners.keys().cloned().collect();
        assert_eq!(vec![stays], known);
        let again = registry.watch_owner(&goes);
        assert!(matches!(&*again.borrow(), RegisteredOwner::Owned(owner) if owner.epoch == 1));
        let owner = set_owner(&registry, &goes, 3);
        assert_eq!(RegisteredOwner::Owned(owner), *again.borrow());
    }
}
