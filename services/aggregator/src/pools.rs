//! Where the streams find the stewards of the pools.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_state::RoleStatus;
use signalbox_types::PoolId;
use tokio::sync::watch;

use crate::actors::PoolOwnerRef;
use crate::serve::Relays;

/// What the streams of one pool look at.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) pool: PoolId,
    /// `None` while there is none.
    pub(crate) owner: watch::Sender<Option<PoolOwnerRef>>,
    /// The highest epoch that is known; touched whenever a follower should ask.
    pub(crate) news: watch::Sender<u64>,
    pub(crate) standing: watch::Sender<RoleStatus>,
    pub(crate) relays: Relays,
}

impl Board {
    pub(crate) fn new(pool: PoolId) -> Self {
        Self {
            pool,
            owner: watch::Sender::new(None),
            news: watch::Sender::new(0),
            standing: watch::Sender::new(RoleStatus::Standby),
            relays: Relays::default(),
        }
    }

    /// Followers shall ask.
    pub(crate) fn stir(&self, epoch: u64) {
        self.news.send_replace(epoch);
    }

    /// It stands otherwise now.
    pub(crate) fn stand(&self, standing: RoleStatus) {
        self.standing.send_replace(standing);
    }

    /// Ends when the pool is not owned here.
    pub(crate) async fn not_owned(&self) {
        let mut standing = self.standing.subscribe();
        // The sender is in `self`.
        let _ = standing.wait_for(|standing| !matches!(standing, RoleStatus::Owner(_))).await;
    }
}

/// All pools of an aggregator.
#[derive(Clone, Debug)]
pub(crate) struct Pools(Arc<BTreeMap<String, Arc<Board>>>);

/// Why a stream about a pool cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPool {
    #[error("this aggregator has no pool {asked}, but {has}")]
    Unknown { asked: String, has: String },
    #[error("this aggregator has several pools, {has}: name one")]
    Ambiguous { has: String },
}

impl Pools {
    pub(crate) fn new(boards: impl IntoIterator<Item = Arc<Board>>) -> Self {
        Self(Arc::new(boards.into_iter().map(|board| (board.pool.to_string(), board)).collect()))
    }

    /// The pool with this name; without one, the only one.
    pub(crate) fn find(&self, asked: Option<&str>) -> Result<Arc<Board>, NoPool> {
        let has = || self.0.keys().cloned().collect::<Vec<_>>().join(", ");
        match asked {
            Some(asked) => {
                let found = self.0.get(asked).cloned();
                found.ok_or_else(|| NoPool::Unknown { asked: asked.to_owned(), has: has() })
            }
            None => {
                let only = self.0.values().next().filter(|_| self.0.len() == 1).cloned();
                only.ok_or_else(|| NoPool::Ambiguous { has: has() })
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Board>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(name: &str) -> Arc<Board> {
        Arc::new(Board::new(PoolId { namespace: "default".to_owned(), name: name.to_owned() }))
    }

    #[test]
    fn a_pool_is_found_by_its_name_and_the_only_one_without() {
        let one = Pools::new([board("a")]);
        let two = Pools::new([board("a"), board("b")]);
        assert_eq!("a", one.find(None).unwrap().pool.name);
        assert_eq!("b", two.find(Some("default/b")).unwrap().pool.name);
        let refused = one.find(Some("default/b")).unwrap_err().to_string();
        assert!(refused.contains("no pool default/b, but default/a"), "{refused}");
        assert!(two.find(None).unwrap_err().to_string().contains("default/a, default/b"));
    }
}
