//! One pool that a replica serves, without its port.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use ractor::{Actor, ActorRef, SpawnErr};
use signalbox_peers::{FollowSettings, FollowedPool};
use signalbox_telemetry::RegistryEntry;
use signalbox_wire::Hello;
use tokio::sync::{Mutex, watch};

use crate::actors::root::{Root, RootMessage, RootSetup};
use crate::admin::pool_gauges::PoolGauges;
use crate::admin::queue_gauges::QueueGauges;
use crate::admin::replica_gauges::ReplicaGauges;
use crate::deciding::picker::Picker;
use crate::deciding::recorder::DecisionRecorder;
use crate::directory::{ListedPool, PoolDirectory};
use crate::metrics::counters::Metrics;
use crate::metrics::go_epp::RequestMetrics;
use crate::replica::Replica;

/// How long the actors may take to stop.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// One pool that a replica serves: its picker, and the actors that keep its view current.
#[derive(Debug)]
pub(super) struct ServedPool {
    pub(super) picker: Arc<Picker>,
    /// Whether the pool has a view.
    pub(super) ready: watch::Receiver<bool>,
    root: ActorRef<RootMessage>,
    directory: Arc<PoolDirectory>,
    metrics: RegistryEntry,
}

impl ServedPool {
    /// Starts to follow the pool called `name`, NAMESPACE/NAME; without a name, the only one that the
    /// aggregators have.
    ///
    /// # Errors
    /// The actors cannot start.
    pub(super) async fn start(replica: &Replica, name: Option<&str>) -> Result<Self, SpawnErr> {
        let hello = Hello { pool: name.map(str::to_owned), name: replica.name.clone() };
        let pool = Arc::new(FollowedPool::requested_by(&hello));
        let mut registry = Registry::default();
        let requests = RequestMetrics::register(&mut registry);
        let metrics = Metrics::register(registry.sub_registry_with_prefix("signalbox_epp"), requests);
        let recorder = DecisionRecorder::new(replica.decision_history, replica.tracer.clone());
        let (picker, feedback, request_ends) = Picker::new(replica.picker.clone(), name, metrics, recorder);
        let picker = Arc::new(picker);
        let listed = ListedPool { pool: Arc::clone(&pool), picker: Arc::clone(&picker) };
        let (set_ready, ready) = watch::channel(false);
        let setup = RootSetup {
            picker: Arc::clone(&picker),
            peers: FollowSettings {
                hello,
                pool: Arc::clone(&pool),
                aggregators: replica.aggregators.clone(),
                connections: replica.connections.clone(),
            },
            feedback: Arc::new(Mutex::new(feedback)),
            request_ends: Arc::new(Mutex::new(request_ends)),
            ready: Arc::new(set_ready),
            failure: replica.failure.clone(),
        };
        let (root, _) = Actor::spawn(None, Root, setup).await?;
        register_gauges(&mut registry, &listed);
        let metrics = replica.registries.add("pool", move || pool.name().map(str::to_owned), registry);
        replica.directory.add(&listed);
        Ok(Self { picker, ready, root, directory: Arc::clone(&replica.directory), metrics })
    }

    /// Stops to follow the pool and frees its memory.
    pub(super) async fn stop(self) {
        drop(self.metrics);
        self.directory.remove(&self.picker);
        // The actors end anyway, when they have handled their messages.
        let _ = self.root.stop_and_wait(None, Some(STOP_TIMEOUT)).await;
        self.picker.clear();
    }
}

/// Registers the gauges that are read on each scrape.
fn register_gauges(registry: &mut Registry, listed: &ListedPool) {
    let own_metrics = registry.sub_registry_with_prefix("signalbox_epp");
    own_metrics.register_collector(Box::new(ReplicaGauges(Arc::clone(&listed.picker))));
    let ListedPool { pool, picker } = listed.clone();
    registry.register_collector(Box::new(QueueGauges(Arc::clone(&picker))));
    registry.register_collector(Box::new(PoolGauges { picker, pool }));
}

#[cfg(test)]
mod tests {
    use ractor::SupervisionEvent;

    use super::*;
    use crate::test_support::replica;

    #[tokio::test]
    async fn stopped_pool_leaves_nothing_behind() {
        let replica = replica();
        let pool = ServedPool::start(&replica, Some("default/p")).await.unwrap();
        let picker = Arc::downgrade(&pool.picker);
        assert!(replica.registries.page().unwrap().contains("pool=\"default/p\""));
        assert_eq!(1, replica.directory.all().len());
        pool.stop().await;
        assert!(!replica.registries.page().unwrap().contains("default/p"));
        assert!(replica.directory.all().is_empty());
        // Tasks that were aborted end soon.
        while picker.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn pool_whose_actors_fail_too_often_is_not_ready_and_tells_why() {
        let replica = replica();
        let mut failure = replica.failure.subscribe();
        let pool = ServedPool::start(&replica, Some("default/p")).await.unwrap();
        let mut failures = 0;
        while failure.borrow().is_none() {
            if let Some(child) = pool.root.get_children().first() {
                child.notify_supervisor(SupervisionEvent::ActorFailed(child.clone(), "it panicked".into()));
                failures += 1;
            }
            let _ = tokio::time::timeout(Duration::from_millis(20), failure.changed()).await;
        }
        let why = failure.borrow().clone().unwrap();
        assert!(why.contains("the uplink failed") || why.contains("the view keeper failed"), "{why}");
        assert!(failures > 10 && !*pool.ready.borrow(), "after {failures} failures");
        pool.stop().await;
    }
}
