//! The tasks that keep streams open, one per aggregator.

use std::collections::BTreeMap;

use signalbox_types::PeerAddress;
use tokio::task::{Id, JoinSet};

/// Why a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskEnd {
    /// The stream has ended, and its aggregator is not listed any more.
    NotListed,
    /// Nobody wants the events of the streams.
    ListenerClosed,
}

/// The running tasks. They end with this.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    running: JoinSet<TaskEnd>,
    ids: BTreeMap<PeerAddress, Id>,
}

impl Tasks {
    /// Starts the task of `aggregator`, unless it is running.
    pub(super) fn start<F: Future<Output = TaskEnd> + Send + 'static>(
        &mut self,
        aggregator: &PeerAddress,
        task: impl FnOnce() -> F,
    ) {
        if !self.ids.contains_key(aggregator) {
            self.ids.insert(aggregator.clone(), self.running.spawn(task()).id());
        }
    }

    /// Waits until a task has ended. It can be started again, unless it panicked.
    pub(super) async fn next_end(&mut self) -> TaskEnd {
        while let Some(ended) = self.running.join_next_with_id().await {
            if let Ok((id, end)) = ended {
                self.ids.retain(|_, running| *running != id);
                return end;
            }
        }
        std::future::pending().await
    }
}
