//! The pools of an aggregator, as its streams see them.

mod handle;
mod message;
mod request_end_relay;

use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) use handle::PoolHandle;
pub(crate) use message::{CollectorReports, PoolOwnerMessage, PoolOwnerRef};

/// All pools of an aggregator, by `NAMESPACE/NAME`.
#[derive(Clone, Debug)]
pub(crate) struct Pools(Arc<BTreeMap<String, Arc<PoolHandle>>>);

/// Why the pool of a stream cannot be determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PoolNotFound {
    #[error("pool {requested} is unknown; this aggregator has {available}")]
    Unknown { requested: String, available: String },
    #[error("this aggregator has several pools; choose one of {available} with --pool")]
    Ambiguous { available: String },
}

impl Pools {
    pub(crate) fn new(handles: impl IntoIterator<Item = Arc<PoolHandle>>) -> Self {
        Self(Arc::new(handles.into_iter().map(|handle| (handle.pool.to_string(), handle)).collect()))
    }

    /// Returns the pool with this name, or the only pool if no name is given.
    pub(crate) fn find(&self, requested: Option<&str>) -> Result<Arc<PoolHandle>, PoolNotFound> {
        let available = || self.0.keys().cloned().collect::<Vec<_>>().join(", ");
        match requested {
            Some(requested) => {
                let found = self.0.get(requested).cloned();
                found.ok_or_else(|| PoolNotFound::Unknown {
                    requested: requested.to_owned(),
                    available: available(),
                })
            }
            None => {
                let only = self.0.values().next().filter(|_| self.0.len() == 1).cloned();
                only.ok_or_else(|| PoolNotFound::Ambiguous { available: available() })
            }
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<PoolHandle>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::PoolId;

    use super::*;

    fn handle(name: &str) -> Arc<PoolHandle> {
        Arc::new(PoolHandle::new(PoolId { namespace: "default".to_owned(), name: name.to_owned() }))
    }

    #[test]
    fn pool_is_found_by_name_and_the_only_pool_without_one() {
        let one = Pools::new([handle("a")]);
        let two = Pools::new([handle("a"), handle("b")]);
        assert_eq!("a", one.find(None).unwrap().pool.name);
        assert_eq!("b", two.find(Some("default/b")).unwrap().pool.name);
        let error = one.find(Some("default/b")).unwrap_err().to_string();
        assert!(error.contains("default/b is unknown; this aggregator has default/a"), "{error}");
        assert!(two.find(None).unwrap_err().to_string().contains("default/a, default/b"));
    }
}
