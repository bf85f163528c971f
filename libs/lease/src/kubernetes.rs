//! A coordinator in the Leases of a Kubernetes namespace.
//!
//! Each member has a Lease, which it renews three times per time to live. Each pool has one that names its owner
//! and the owner's epoch; only claims, releases and signals write it. An owner holds the pool while its own Lease
//! is valid.

mod claims;
mod deletions;
mod latency;
mod lease;
mod lease_name;
mod lease_table;
mod objects;
mod pacing;
mod pauses;
mod registration;
mod signals;
mod watch;

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use signalbox_kube::{Cluster, LeaseError, Leases};
use tokio::sync::broadcast;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::{StoreError, Unavailable};
use crate::ownership::ClaimError;
use crate::registry::Registry;

pub(crate) use lease::Lease;
pub(crate) use lease_name::is_label;
use lease_table::LeaseTable;
use pacing::Pacing;
pub(crate) use signals::{read_signal, store_signal};

/// Attempts of a write that loses races against other writes.
const MAX_ATTEMPTS: usize = 5;

/// Number of deletions that wait to be read. A registration that misses one registers again, in case it was its own.
const WAITING_DELETIONS: usize = 64;

/// Where the Leases are.
#[derive(Clone, Debug)]
pub struct KubernetesSettings {
    /// The cluster.
    pub cluster: Cluster,
    /// Namespace of the Leases.
    pub namespace: String,
    /// Name of the installation: its aggregators share their pools. It begins the names of its Leases and is
    /// the value of their label `signalbox.dev/installation`, so it must be a DNS label.
    pub installation: String,
}

impl From<LeaseError> for ClaimError {
    fn from(error: LeaseError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<LeaseError> for Unavailable {
    fn from(error: LeaseError) -> Self {
        Self(error.to_string())
    }
}

impl From<LeaseError> for StoreError {
    fn from(error: LeaseError) -> Self {
        Self::Unavailable(error.into())
    }
}

#[derive(Debug)]
pub(crate) struct KubernetesCoordinator {
    pub(crate) leases: Leases,
    installation: String,
    mirror: Arc<Mirror>,
    pacing: Pacing,
    watch_task: OnceLock<AbortHandle>,
}

/// What this process knows of the Leases.
#[derive(Debug)]
struct Mirror {
    table: Mutex<LeaseTable>,
    registry: Registry,
    /// Names of Leases of which the watch reports that they were deleted.
    deletions: broadcast::Sender<String>,
}

impl Drop for KubernetesCoordinator {
    fn drop(&mut self) {
        if let Some(task) = self.watch_task.get() {
            task.abort();
        }
    }
}

impl KubernetesCoordinator {
    pub(crate) fn start(settings: KubernetesSettings) -> Arc<Self> {
        let KubernetesSettings { cluster, namespace, installation } = settings;
        let leases = Leases::new(&cluster, &namespace, (objects::INSTALLATION_LABEL, &installation));
        let table = Mutex::new(LeaseTable::new(&installation));
        let (deletions, _) = broadcast::channel(WAITING_DELETIONS);
        let mirror = Arc::new(Mirror { table, registry: Registry::default(), deletions });
        let (pacing, watch_task) = (Pacing::default(), OnceLock::new());
        let coordinator = Arc::new(Self { leases, installation, mirror, pacing, watch_task });
        let watch = watch::watch(coordinator.leases.clone(), Arc::clone(&coordinator.mirror));
        coordinator.watch_task.get_or_init(|| tokio::spawn(watch).abort_handle());
        coordinator
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.mirror.registry
    }
}

impl Mirror {
    fn table(&self) -> MutexGuard<'_, LeaseTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the API server failed to answer.
    fn record_trouble(&self) {
        self.table().record_trouble(Instant::now());
    }

    /// Awaits requests, and lets nobody expire while they take longer than expected.
    async fn timed<T>(&self, requests: impl Future<Output = Result<T, LeaseError>>) -> Result<T, LeaseError> {
        let (started, limit) = (Instant::now(), self.table().latency_limit());
        let mut requests = pin!(requests);
        let result = match timeout(limit, &mut requests).await {
            Ok(result) => result,
            Err(_) => {
                let _overdue = Overdue::new(self);
                requests.await
            }
        };
        match &result {
            Err(LeaseError::Unavailable(_) | LeaseError::Throttled(..)) => self.record_trouble(),
            _ => self.table().record_answer(started.elapsed()),
        }
        result
    }
}

/// A request that takes longer than expected.
struct Overdue<'a>(&'a Mirror);

impl<'a> Overdue<'a> {
    fn new(mirror: &'a Mirror) -> Self {
        mirror.table().begin_overdue(Instant::now());
        Self(mirror)
    }
}

impl Drop for Overdue<'_> {
    fn drop(&mut self) {
        self.0.table().end_overdue(Instant::now());
    }
}
