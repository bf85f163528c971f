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
pub(crate) struct TestSignals(BTreeMap<PoolId, watch::Sender<Latest>>);

impl TestSignals {
    /// Pools of the namespace `ns` with these names, of which nothing is known yet.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self(names.iter().map(|name| (pool(name), watch::Sender::default())).collect())
    }

    pub(crate) fn publish(&self, name: &str, signal: Signal) {
        let now_ms = signal.assessed_at_ms;
        self.0[&pool(name)].send_replace(Latest { signal: Some(Arc::new(signal)), now_ms });
    }

    /// Lets this time pass without a new signal.
    pub(crate) fn wait(&self, name: &str, ms: u64) {
        self.0[&pool(name)].send_modify(|latest| latest.now_ms += ms);
    }
}

impl Signals for TestSignals {
    fn pools(&self, namespace: &str) -> Vec<PoolId> {
        self.0.keys().filter(|pool| pool.namespace == namespace).cloned().collect()
    }

    fn latest(&self, pool: &PoolId) -> Option<Latest> {
        Some(self.0.get(pool)?.borrow().clone())
    }

    fn changes(&self, pool: &PoolId) -> Option<SignalChanges> {
        Some(WatchStream::new(self.0.get(pool)?.subscribe()).map(drop).boxed())
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
        coverage: Coverage { pods_percent: 100, replicas_percent: 100 },
        groups: vec![group],
        is_active: desired > 0,
        ..Signal::default()
    }
}
