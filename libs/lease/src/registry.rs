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
        for (pool, sender) in &inner.owners {
            send_if_changed(sender, inner.contents.owner(pool));
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
