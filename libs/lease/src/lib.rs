//! Registers processes, and elects the owner of each pool.
//!
//! A [`Coordinator`] knows the live processes and the owner of each pool. It is etcd, the Leases of a Kubernetes
//! namespace (feature `kubernetes`, for aggregators), or in-process if there is only one aggregator. All behave
//! the same: `integration/tests/lease` runs one test suite against each. No request depends on the coordinator: while it is unavailable, what it last reported stays in use.

mod coordinator;
mod discovery;
mod error;
mod etcd;
mod flags;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod local;
mod membership;
mod outage;
mod ownership;
mod registry;
mod renewal_gate;
mod session;

pub use coordinator::Coordinator;
pub use discovery::discover_aggregators;
pub use error::{StoreError, Unavailable};
pub use etcd::{EtcdSettings, Login, TlsFiles};
#[cfg(feature = "kubernetes")]
pub use flags::KubernetesFlags;
pub use flags::{CoordinatorFlags, CoordinatorFlagsError, CoordinatorUrlError};
#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesSettings;
pub use membership::{Member, Role};
pub use ownership::{Claim, ClaimError, ClaimRequest, Owner, RegisteredOwner};
pub use session::Session;
