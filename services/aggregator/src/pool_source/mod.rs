//! Where the pools and their specifications come from.

mod file;
mod host_addresses;
mod kubernetes;
mod set;

use std::path::PathBuf;

use signalbox_kube::{Cluster, PoolWatchSettings};
use signalbox_types::{PageSettings, PoolSpec};
use tokio::sync::watch;

use self::file::watch_file;
use self::kubernetes::watch_cluster;
use self::set::combine;
pub use self::set::{PoolSet, SourcedPool};
use crate::endpoints_file::Parsed;
use crate::metrics::Metrics;

/// Where the specifications of one or more pools come from.
#[derive(Clone, Debug)]
pub enum PoolSource {
    /// An endpoints file that is reloaded when it changes, its current contents, and the defaults for metrics pages.
    File(PathBuf, Parsed, PageSettings),
    /// A pool that never changes.
    Fixed(PoolSpec),
    /// InferencePools of a Kubernetes cluster, which come and go.
    Kubernetes(Cluster, PoolWatchSettings),
    /// Pools that come and go as their sender wants.
    Watched(watch::Receiver<PoolSet>),
}

impl PoolSource {
    /// Returns the pool of a source that has exactly one.
    pub(crate) fn only_pool(&self) -> Option<&PoolSpec> {
        match self {
            Self::File(_, Parsed { spec, .. }, _) | Self::Fixed(spec) => Some(spec),
            Self::Kubernetes(..) | Self::Watched(_) => None,
        }
    }
}

/// Watches the pools of all sources together.
pub(crate) fn watch_pools(sources: Vec<PoolSource>, metrics: &Metrics) -> watch::Receiver<PoolSet> {
    let watched = sources.into_iter().map(|source| match source {
        PoolSource::Fixed(spec) => watch::channel(PoolSet::of(spec, None)).1,
        PoolSource::File(path, contents, defaults) => watch_file(path, contents, defaults, metrics),
        PoolSource::Kubernetes(cluster, settings) => watch_cluster(&cluster, settings, metrics),
        PoolSource::Watched(pools) => pools,
    });
    combine(watched.collect())
}
