//! The pools of an aggregator, as its streams see them.

mod bulk_queue;
mod feedback_replies;
mod handle;
mod message;
mod message_budget;
mod origin_bindings;
mod progress;
mod published_signal;
mod request_end_relay;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
pub(crate) use bulk_queue::BulkMessage;
pub(crate) use feedback_replies::FeedbackReplies;
pub(crate) use handle::{PoolHandle, PublishedHistory};
pub(crate) use message::{CollectorReports, PoolOwnerMessage, PoolOwnerRef};
pub(crate) use message_budget::{MessagePermit, StreamBudget};
pub(crate) use progress::STALL_LIMIT;
pub(crate) use published_signal::PublishedSignal;
use signalbox_types::PoolId;

/// Names of pools that an error lists at most.
const MAX_NAMES_LISTED: usize = 10;

/// All pools of an aggregator, by `NAMESPACE/NAME`, as they come and go.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pools(Arc<ArcSwap<Handles>>);

type Handles = BTreeMap<String, Arc<PoolHandle>>;

/// Why the pool of a stream cannot be determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolNotFound {
    #[error("pool {requested} is unknown; this aggregator has {available}")]
    Unknown { requested: String, available: String },
    #[error("this aggregator has several pools; choose one of {available} with --pool")]
    Ambiguous { available: String },
    #[error("this aggregator has no pools, or has not listed them yet")]
    None,
}

impl Pools {
    /// Adds a pool. Only the actor that starts the pools' actors adds and removes pools.
    pub(crate) fn insert(&self, handle: Arc<PoolHandle>) {
        let mut handles = Handles::clone(&self.0.load());
        handles.insert(handle.pool.to_string(), handle);
        self.0.store(Arc::new(handles));
    }

    pub(crate) fn remove(&self, pool: &PoolId) {
        let mut handles = Handles::clone(&self.0.load());
        handles.remove(&pool.to_string());
        self.0.store(Arc::new(handles));
    }

    /// Returns whether this pool has not been removed. Another pool with its name may have been added since.
    pub(crate) fn contains(&self, handle: &Arc<PoolHandle>) -> bool {
        self.0.load().get(&handle.pool.to_string()).is_some_and(|found| Arc::ptr_eq(found, handle))
    }

    /// Returns the pool with this name, or the only pool if no name is given.
    pub(crate) fn find(&self, requested: Option<&str>) -> Result<Arc<PoolHandle>, PoolNotFound> {
        let handles = self.0.load();
        if handles.is_empty() {
            return Err(PoolNotFound::None);
        }
        match requested {
            Some(requested) => {
                let found = handles.get(requested).cloned();
                found.ok_or_else(|| PoolNotFound::Unknown {
                    requested: requested.to_owned(),
                    available: names(&handles),
                })
            }
            None => {
                let only = handles.values().next().filter(|_| handles.len() == 1).cloned();
                only.ok_or_else(|| PoolNotFound::Ambiguous { available: names(&handles) })
            }
        }
    }

    pub(crate) fn all(&self) -> Vec<Arc<PoolHandle>> {
        self.0.load().values().cloned().collect()
    }
}

fn names(handles: &Handles) -> String {
    let listed = handles.keys().take(MAX_NAMES_LISTED).cloned().collect::<Vec<_>>().join(", ");
    match handles.len().saturating_sub(MAX_NAMES_LISTED) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(name: &str) -> Arc<PoolHandle> {
        let pool = PoolId { namespace: "default".to_owned(), name: name.to_owned() };
        Arc::new(PoolHandle::new(pool, std::time::Duration::ZERO))
    }

    fn pools(names: &[&str]) -> Pools {
        let pools = Pools::default();
        names.iter().for_each(|name| pools.insert(handle(name)));
        pools
    }

    #[test]
    fn pool_is_found_by_name_and_the_only_pool_without_one() {
        let (one, two) = (pools(&["a"]), pools(&["a", "b"]));
        assert_eq!("a", one.find(None).unwrap().pool.name);
        assert_eq!("b", two.find(Some("default/b")).unwrap().pool.name);
        let error = one.find(Some("default/b")).unwrap_err().to_string();
        assert!(error.contains("default/b is unknown; this aggregator has default/a"), "{error}");
        assert!(two.find(None).unwrap_err().to_string().contains("default/a, default/b"));
        let kept = two.find(Some("default/a")).unwrap();
        assert!(two.contains(&kept) && !two.contains(&handle("a")));
        two.remove(&handle("a").pool);
        assert!(!two.contains(&kept));
        assert_eq!("b", two.find(None).unwrap().pool.name);
        assert_eq!(Some(PoolNotFound::None), Pools::default().find(None).err());
    }

    #[test]
    fn error_lists_a_bounded_number_of_pools() {
        let names: Vec<String> = (10..30).map(|number| format!("p{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let error = pools(&names).find(None).unwrap_err().to_string();
        assert!(error.contains("default/p19 and 10 more with --pool") && !error.contains("p20"), "{error}");
    }
}
