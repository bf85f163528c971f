//! Talks to the Kubernetes API server. The only crate that imports `kube`.
//!
//! [`watch_pools`] turns objects of the cluster into [`DiscoveredPools`]; [`Leases`] reads and writes
//! Leases; [`Reviews`] asks who a client is and what it may do.

mod catalog;
mod causes;
mod cluster;
mod delegation;
mod discovered;
mod events;
mod leases;
mod objects;
mod pool_watch;

pub use catalog::PoolSelection;
pub use cluster::{Cluster, ClusterSettings, ConnectError};
pub use delegation::{AuthenticationConfig, ReviewError, Reviews, watch_authentication_config};
pub use discovered::{DiscoveredPool, DiscoveredPools};
pub use leases::{Lease, LeaseError, LeaseEvent, LeaseList, LeaseOwner, Leases};
pub use pool_watch::{PoolWatchObserver, PoolWatchSettings, watch_pools};
