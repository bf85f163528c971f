//! The pools that an aggregator is to serve.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_types::{PoolId, PoolSpec};
use signalbox_wire::ServedPool;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{StreamExt, StreamMap};

/// The pools that an aggregator is to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSet {
    /// Whether all pools are known. It never becomes false again.
    pub is_synced: bool,
    /// The pools.
    pub pools: BTreeMap<PoolId, SourcedPool>,
}

/// One pool of a [`PoolSet`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcedPool {
    /// Its specification.
    pub spec: Arc<PoolSpec>,
    /// How replicas serve it to gateways.
    pub served: ServedPool,
}

impl PoolSet {
    /// Returns the set of one pool, which replicas serve on `port` or, without one, on their `--grpc-port`.
    pub fn of(spec: PoolSpec, port: Option<u16>) -> Self {
        let pool = SourcedPool { spec: Arc::new(spec), served: ServedPool { port, created_ms: 0 } };
        Self { is_synced: true, pools: BTreeMap::from([(pool.spec.id.clone(), pool)]) }
    }

    /// Returns the pools of all sets. They are synced when all sets are.
    fn union<'a>(sets: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = Self { is_synced: true, pools: BTreeMap::new() };
        for set in sets {
            union.is_synced &= set.is_synced;
            union.pools.extend(set.pools.iter().map(|(id, pool)| (id.clone(), pool.clone())));
        }
        union
    }
}

/// Watches the union of several sets.
pub(super) fn combine(sets: Vec<watch::Receiver<PoolSet>>) -> watch::Receiver<PoolSet> {
    let mut latest: Vec<PoolSet> = sets.iter().map(|set| set.borrow().clone()).collect();
    let (sender, receiver) = watch::channel(PoolSet::union(&latest));
    let mut changes: StreamMap<usize, WatchStream<PoolSet>> =
        sets.into_iter().map(WatchStream::new).enumerate().collect();
    tokio::spawn(async move {
        loop {
            let (index, set) = tokio::select! {
                change = changes.next() => match change {
                    Some(change) => change,
                    // None of the sets changes again.
                    None => return,
                },
                () = sender.closed() => return,
            };
            latest[index] = set;
            let union = PoolSet::union(&latest);
            sender.send_if_modified(|last| {
                let is_changed = *last != union;
                *last = union;
                is_changed
            });
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(is_synced: bool, names: &[&str]) -> PoolSet {
        let pools = names.iter().flat_map(|name| {
            let id = PoolId { namespace: "default".to_owned(), name: (*name).to_owned() };
            PoolSet::of(PoolSpec { id, endpoints: Vec::new(), models: Arc::default() }, None).pools
        });
        PoolSet { is_synced, pools: pools.collect() }
    }

    #[tokio::test]
    async fn union_follows_each_set_and_is_synced_when_all_are() {
        let (one, other) = (watch::Sender::new(set(false, &[])), watch::Sender::new(set(true, &["b"])));
        let mut union =
            combine(vec![one.subscribe(), watch::channel(set(true, &["a"])).1, other.subscribe()]);
        assert_eq!(set(false, &["a", "b"]), *union.borrow_and_update());
        one.send_replace(set(true, &["c"]));
        let synced = union.wait_for(|union| union.is_synced).await.unwrap().clone();
        assert_eq!(set(true, &["a", "b", "c"]), synced);
        other.send_replace(set(true, &[]));
        let smaller = union.wait_for(|union| union.pools.len() < 3).await.unwrap().clone();
        assert_eq!(set(true, &["a", "c"]), smaller);
    }
}
