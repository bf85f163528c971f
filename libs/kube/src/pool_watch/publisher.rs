//! Feeds the catalog and publishes what it derives.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use super::observer::PoolWatchObserver;
use crate::catalog::{Catalog, Input, Refreshed, Rejection};
use crate::discovered::DiscoveredPools;
use crate::events::ObjectEvent;

/// How long changes are collected before the pools are derived again.
const COLLECT: Duration = Duration::from_millis(30);

pub(super) struct Publisher {
    pub(super) catalog: Catalog,
    pub(super) pools: watch::Sender<Arc<DiscoveredPools>>,
    /// The Events to write.
    pub(super) events: watch::Sender<BTreeSet<ObjectEvent>>,
    pub(super) observer: Arc<dyn PoolWatchObserver>,
}

impl Publisher {
    /// Runs until nobody receives the pools any more, or all senders of `inputs` are dropped.
    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        loop {
            let input = tokio::select! {
                () = self.pools.closed() => return,
                input = inputs.recv() => input,
            };
            let Some(input) = input else { return };
            self.catalog.handle(input);
            let deadline = Instant::now() + COLLECT;
            while let Ok(Some(input)) = timeout_at(deadline, inputs.recv()).await {
                self.catalog.handle(input);
            }
            if let Some(refreshed) = self.catalog.refresh() {
                self.publish(refreshed);
            }
        }
    }

    fn publish(&self, Refreshed { pools, rejections, in_force }: Refreshed) {
        self.pools.send_if_modified(|last| {
            let is_changed = **last != pools;
            if is_changed {
                if !last.is_synced {
                    tracing::info!(pools = pools.pools.len(), "listed all objects");
                }
                *last = Arc::new(pools);
            }
            is_changed
        });
        for Rejection { object, reason, message } in rejections {
            let (kind, reason) = (object.kind, reason.name());
            self.observer.object_rejected(kind, reason);
            tracing::warn!(
                kind, namespace = %object.key.namespace, name = %object.key.name, reason, %message,
                "cannot use an object as it is"
            );
        }
        if let Some(in_force) = in_force {
            let event = |Rejection { object, reason, message }| ObjectEvent {
                object,
                reason: reason.name(),
                message,
            };
            self.events.send_replace(in_force.into_iter().map(event).collect());
        }
    }
}
