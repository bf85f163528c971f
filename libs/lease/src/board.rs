//! What a coordinator said last, for whoever wants to know.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use signalbox_types::PoolId;
use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::{Member, OwnerSeen, Role};

/// What a coordinator said last.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    ledger: Ledger,
    members: BTreeMap<Role, watch::Sender<Vec<Member>>>,
    owners: BTreeMap<PoolId, watch::Sender<OwnerSeen>>,
}

impl Board {
    pub(crate) fn members(&self, role: Role) -> watch::Receiver<Vec<Member>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = inner.ledger.members(role);
        inner.members.entry(role).or_insert_with(|| watch::Sender::new(now)).subscribe()
    }

    pub(crate) fn owner(&self, pool: &PoolId) -> watch::Receiver<OwnerSeen> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = inner.ledger.owner(pool);
        inner.owners.entry(pool.clone()).or_insert_with(|| watch::Sender::new(now)).subscribe()
    }

    /// Lets `look` see the ledger.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Ledger) -> R) -> R {
        look(&self.0.lock().unwrap_or_else(PoisonError::into_inner).ledger)
    }

    /// Lets `change` change the ledger, and tells whom it concerns.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut Ledger) -> R) -> R {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = change(&mut inner.ledger);
        for role in Role::ALL {
            if let Some(sender) = inner.members.get(&role) {
                tell(sender, inner.ledger.members(role));
            }
        }
        for (pool, sender) in &inner.owners {
            tell(sender, inner.ledger.owner(pool));
        }
        changed
    }
}

/// Sends what is news.
pub(crate) fn tell<T: PartialEq>(sender: &watch::Sender<T>, now: T) {
    sender.send_if_modified(|before| {
        let is_news = *before != now;
        *before = now;
        is_news
    });
}
