//! A coordinator in the Leases of a Kubernetes namespace.
//!
//! Each member has a Lease, which it renews three times per time to live. Each pool has one that names its owner
//! and the owner's epoch; only claims, releases and signals write it. An owner holds the pool while its own Lease
//! is valid.

mod claims;
mod lease;
mod lease_name;
mod lease_table;
mod objects;
mod registration;
mod signals;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use signalbox_kube::{Cluster, LeaseError, Leases};
use tokio::task::AbortHandle;

use crate::error::Unavailable;
use crate::ownership::ClaimError;
use crate::registry::Registry;

pub(crate) use lease::Lease;
pub(crate) use lease_name::is_label;
use lease_table::LeaseTable;
pub(crate) use signals::{publish_signal, read_signal};

/// Attempts of a write that loses races against other writes.
const MAX_ATTEMPTS: usize = 5;

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

#[derive(Debug)]
pub(crate) struct KubernetesCoordinator {
    pub(crate) leases: Leases,
    installation: String,
    mirror: Arc<Mirror>,
    watch_task: OnceLock<AbortHandle>,
}

/// What this process knows of the Leases.
#[derive(Debug)]
struct Mirror {
    table: Mutex<LeaseTable>,
    registry: Registry,
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
        let mirror = Arc::new(Mirror { table, registry: Registry::default() });
        let coordinator = Arc::new(Self { leases, installation, mirror, watch_task: OnceLock::new() });
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

    /// Records that the API server failed to answer, or took long to.
    fn record_trouble(&self) {
        self.table().record_trouble(Instant::now());
    }
}
