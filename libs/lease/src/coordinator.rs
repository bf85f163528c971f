//! The coordinator, independent of where it runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use signalbox_types::PoolId;
use tokio::sync::watch;

use crate::error::{StoreError, Unavailable};
use crate::etcd::{self, EtcdCoordinator, EtcdSettings};
#[cfg(feature = "kubernetes")]
use crate::kubernetes::{self, KubernetesCoordinator, KubernetesSettings};
use crate::local::{self, LocalCoordinator};
use crate::membership::{Member, Role};
use crate::ownership::RegisteredOwner;
use crate::registry::Registry;
use crate::renewal_gate::RenewalGate;
use crate::session::{Lease, Session};

/// Registers processes and owners of pools. Clones are handles to the same coordinator.
#[derive(Clone, Debug)]
pub struct Coordinator(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Local(Arc<LocalCoordinator>),
    Etcd(Arc<EtcdCoordinator>),
    #[cfg(feature = "kubernetes")]
    Kubernetes(Arc<KubernetesCoordinator>),
}

impl Coordinator {
    /// Creates a coordinator inside this process. It knows nothing of earlier owners.
    pub fn in_process() -> Self {
        Self(Kind::Local(Arc::default()))
    }

    /// Returns a coordinator in etcd. etcd need not be available yet: the connection is retried in the
    /// background.
    pub fn etcd(settings: EtcdSettings) -> Self {
        Self(Kind::Etcd(EtcdCoordinator::start(settings)))
    }

    /// Returns a coordinator in the Leases of a Kubernetes namespace. The API server need not be available yet:
    /// it is asked again in the background.
    #[cfg(feature = "kubernetes")]
    pub fn kubernetes(settings: KubernetesSettings) -> Self {
        Self(Kind::Kubernetes(KubernetesCoordinator::start(settings)))
    }

    /// Registers `member` and renews the registration in the background until the session is left. If the
    /// session is dropped or the process dies, others see the member for another `ttl`. etcd rounds `ttl` up
    /// to whole seconds, at least two; Kubernetes rounds it up to whole seconds.
    pub fn join(&self, member: Member, ttl: Duration) -> Session {
        self.join_with(member, ttl, RenewalGate::always_open())
    }

    /// Registers `member` like [`Coordinator::join`], but renews the registration, and registers again, only while
    /// `may_renew` is true: a member that does not work any more is to be replaced.
    pub fn join_while(&self, member: Member, ttl: Duration, may_renew: watch::Receiver<bool>) -> Session {
        self.join_with(member, ttl, RenewalGate::open_while(may_renew))
    }

    fn join_with(&self, member: Member, ttl: Duration, gate: RenewalGate) -> Session {
        let (role, name, address) = (member.role, member.name.clone(), member.address.clone());
        let lease = match &self.0 {
            Kind::Local(local) => Lease::Local(local::Lease::start(Arc::clone(local), member, ttl, gate)),
            Kind::Etcd(etcd) => Lease::Etcd(etcd::Lease::start(Arc::clone(etcd), member, ttl, gate)),
            #[cfg(feature = "kubernetes")]
            Kind::Kubernetes(kubernetes) => {
                Lease::Kubernetes(kubernetes::Lease::start(Arc::clone(kubernetes), member, ttl, gate))
            }
        };
        tracing::debug!(?role, name, "registering with the coordinator");
        Session { name, address, lease }
    }

    /// Watches the live members of a role, sorted by name.
    pub fn members(&self, role: Role) -> watch::Receiver<Vec<Member>> {
        self.registry().watch_members(role)
    }

    /// Watches the owner of a pool.
    pub fn owner(&self, pool: &PoolId) -> watch::Receiver<RegisteredOwner> {
        self.registry().watch_owner(pool)
    }

    /// Stores `signal`, an opaque value, as the owner of `epoch`, for the aggregators that take the pool over later. An
    /// owner that was frozen in the middle of it overwrites nothing that a later one has stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn store_signal(&self, pool: &PoolId, epoch: u64, signal: Bytes) -> Result<(), StoreError> {
        match &self.0 {
            Kind::Local(local) => local.store_signal(pool, epoch, &signal),
            Kind::Etcd(etcd) => etcd.store_signal(pool, epoch, &signal).await,
            #[cfg(feature = "kubernetes")]
            Kind::Kubernetes(leases) => kubernetes::store_signal(leases, pool, epoch, &signal).await,
        }
    }

    /// Returns the signal that was stored last.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn read_signal(&self, pool: &PoolId) -> Result<Option<Bytes>, Unavailable> {
        match &self.0 {
            Kind::Local(local) => Ok(local.read_signal(pool)),
            Kind::Etcd(etcd) => etcd.read_signal(pool).await,
            #[cfg(feature = "kubernetes")]
            Kind::Kubernetes(leases) => kubernetes::read_signal(leases, pool).await,
        }
    }

    /// Returns how many times this process has written to the Kubernetes API server, whatever came of it; zero
    /// for other coordinators.
    pub fn api_writes(&self) -> u64 {
        match &self.0 {
            Kind::Local(_) | Kind::Etcd(_) => 0,
            #[cfg(feature = "kubernetes")]
            Kind::Kubernetes(kubernetes) => kubernetes.leases.writes(),
        }
    }

    fn registry(&self) -> &Registry {
        match &self.0 {
            Kind::Local(local) => &local.registry,
            Kind::Etcd(etcd) => &etcd.registry,
            #[cfg(feature = "kubernetes")]
            Kind::Kubernetes(kubernetes) => kubernetes.registry(),
        }
    }
}
