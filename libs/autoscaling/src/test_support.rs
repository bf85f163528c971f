//! Signals for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;
use signalbox_signal::{Certainty, Coverage, Group, GroupSignal, Role, Signal};
use signalbox_types::PoolId;
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;

use crate::signals::{Latest, SignalChanges, Signals};

/// Pools whose signals a test publishes.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestSignals(BTreeMap<PoolId, TestPool>);

#[derive(Clone, Debug, Default)]
struct TestPool {
    /// The latest signal, and how many there were.
    published: watch::Sender<(u64, Latest)>,
    /// Which one was read last.
    read: watch::Sender<u64>,
}

impl TestSignals {
    /// Pools of the namespace `ns` with these names, of which nothing is known yet.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (pool(name), TestPool::default())).collect())
    }

    pub(crate) fn publish(&self, name: &str, signal: Signal) {
        let now_ms = signal.assessed_at_ms;
        self.0[&pool(name)].published.send_modify(|(count, latest)| {
            *count += 1;
            *latest = Latest { signal: Some(Arc::new(signal)), now_ms };
        });
    }

    /// Waits until someone has read what was published last.
    pub(crate) async fn wait_until_read(&self, name: &str) {
        let TestPool { published, read } = &self.0[&pool(name)];
        let count = published.borrow().0;
        read.subscribe().wait_for(|read| *read >= count).await.unwrap();
    }

    /// Lets this time pass without a new signal.
    pub(crate) fn wait(&self, name: &str, ms: u64) {
        self.0[&pool(name)].published.send_modify(|(_, latest)| latest.now_ms += ms);
    }
}

impl Signals for TestSignals {
    fn pools(&self, namespace: &str) -> Vec<PoolId> {
        self.0.keys().filter(|pool| pool.namespace == namespace).cloned().collect()
    }

    fn latest(&self, pool: &PoolId) -> Option<Latest> {
        let TestPool { published, read } = self.0.get(pool)?;
        let (count, latest) = published.borrow().clone();
        read.send_modify(|read| *read = count.max(*read));
        Some(latest)
    }

    fn changes(&self, pool: &PoolId) -> Option<SignalChanges> {
        Some(WatchStream::new(self.0.get(pool)?.published.subscribe()).map(drop).boxed())
    }
}

pub(crate) fn pool(name: &str) -> PoolId {
    PoolId { namespace: "ns".to_owned(), name: name.to_owned() }
}

/// A certain signal of a pool with one group.
pub(crate) fn desired(desired: u32) -> Signal {
    let group = GroupSignal { group: Group::of_role(Role::Both), desired, ..GroupSignal::default() };
    Signal {
        certainty: Certainty::Complete,
        coverage: Coverage { pods_percent: 100, epp_replicas_percent: 100 },
        groups: vec![group],
        is_active: desired > 0,
        ..Signal::default()
    }
}
