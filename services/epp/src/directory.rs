//! The pools that a replica serves at the moment, for everything that is not bound to one of them: the access
//! log, explanations, and the gauges of the process.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use signalbox_peers::FollowedPool;

use crate::deciding::picker::Picker;

/// The pools that a replica serves at the moment.
#[derive(Debug, Default)]
pub(crate) struct PoolDirectory(ArcSwap<Vec<ListedPool>>);

/// A pool that is served.
#[derive(Clone, Debug)]
pub(crate) struct ListedPool {
    pub(crate) pool: Arc<FollowedPool>,
    pub(crate) picker: Arc<Picker>,
}

/// Why no pool was selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unselected {
    /// The replica serves no pool.
    NoPool,
    /// It serves these, and none was named.
    Several(Vec<String>),
    /// It serves these, and another was named.
    Unknown(String, Vec<String>),
}

impl fmt::Display for Unselected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPool => write!(f, "this replica serves no pool yet"),
            Self::Several(pools) => {
                write!(f, "this replica serves several pools; choose one with ?pool=: {}", pools.join(", "))
            }
            Self::Unknown(pool, pools) => {
                write!(f, "pool {pool} is unknown; this replica serves {}", pools.join(", "))
            }
        }
    }
}

impl PoolDirectory {
    /// Adds a pool.
    pub(crate) fn add(&self, pool: &ListedPool) {
        self.0.rcu(|pools| pools.iter().chain([pool]).cloned().collect::<Vec<_>>());
    }

    /// Removes the pool with this picker.
    pub(crate) fn remove(&self, picker: &Arc<Picker>) {
        let is_kept = |listed: &&ListedPool| !Arc::ptr_eq(&listed.picker, picker);
        self.0.rcu(|pools| pools.iter().filter(is_kept).cloned().collect::<Vec<_>>());
    }

    /// Returns all pools.
    pub(crate) fn all(&self) -> Arc<Vec<ListedPool>> {
        self.0.load_full()
    }

    /// Returns the picker of the pool called `name`, NAMESPACE/NAME; without a name, that of the only pool.
    ///
    /// # Errors
    /// There is no such pool.
    pub(crate) fn select(&self, name: Option<&str>) -> Result<Arc<Picker>, Unselected> {
        let pools = self.all();
        let names = || pools.iter().map(|listed| listed.pool.name().unwrap_or_default().to_owned()).collect();
        let selected = match (name, pools.as_slice()) {
            (_, []) => return Err(Unselected::NoPool),
            (None, [only]) => Some(only),
            (None, _) => return Err(Unselected::Several(names())),
            // The latest one: an earlier pool of that name may still be draining.
            (Some(name), _) => pools.iter().rev().find(|listed| listed.pool.name() == Some(name)),
        };
        let picker = selected.map(|listed| Arc::clone(&listed.picker));
        picker.ok_or_else(|| Unselected::Unknown(name.unwrap_or_default().to_owned(), names()))
    }
}

#[cfg(test)]
mod tests {
    use signalbox_wire::Hello;

    use super::*;
    use crate::test_support::picker;

    fn listed(name: &str) -> ListedPool {
        let hello = Hello { pool: Some(name.to_owned()), name: String::new() };
        ListedPool { pool: Arc::new(FollowedPool::requested_by(&hello)), picker: Arc::new(picker(&[])) }
    }

    #[test]
    fn pool_need_not_be_named_unless_there_are_several() {
        let directory = PoolDirectory::default();
        assert_eq!(Some(Unselected::NoPool), directory.select(None).err());
        let (chat, code) = (listed("n/chat"), listed("n/code"));
        directory.add(&chat);
        assert!(Arc::ptr_eq(&chat.picker, &directory.select(None).unwrap()));
        let unknown = directory.select(Some("n/code")).unwrap_err().to_string();
        assert_eq!("pool n/code is unknown; this replica serves n/chat", unknown);
        directory.add(&code);
        assert!(Arc::ptr_eq(&code.picker, &directory.select(Some("n/code")).unwrap()));
        let several = directory.select(None).unwrap_err().to_string();
        assert!(several.ends_with("?pool=: n/chat, n/code"), "{several}");
        directory.remove(&chat.picker);
        assert!(Arc::ptr_eq(&code.picker, &directory.select(None).unwrap()));
    }
}
