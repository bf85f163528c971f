//! The URL of etcd.

use signalbox_types::PeerAddress;
use thiserror::Error;

use crate::coordinator::Coordinator;
use crate::etcd::EtcdSettings;

/// The URL of the coordinator is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid --coordinator {url}: {reason}; write etcd://HOST:PORT, or several HOST:PORT separated by commas, or kubernetes"
)]
pub struct CoordinatorUrlError {
    url: String,
    reason: String,
}

impl Coordinator {
    /// Returns the coordinator at `url`, `etcd://HOST:PORT[,HOST:PORT...]`, without TLS and login. It need
    /// not be available yet.
    ///
    /// # Errors
    /// [`CoordinatorUrlError`].
    pub fn from_url(url: &str) -> Result<Self, CoordinatorUrlError> {
        Ok(Self::etcd(EtcdSettings { endpoints: endpoints(url)?, login: None, tls: None }))
    }
}

pub(super) fn endpoints(url: &str) -> Result<Vec<PeerAddress>, CoordinatorUrlError> {
    let invalid = |reason: String| CoordinatorUrlError { url: url.to_owned(), reason };
    let hosts = url.strip_prefix("etcd://").ok_or_else(|| invalid("it is no etcd:// URL".to_owned()))?;
    let endpoints = hosts.trim_end_matches('/').split(',').map(str::parse::<PeerAddress>);
    endpoints.collect::<Result<_, _>>().map_err(invalid)
}
