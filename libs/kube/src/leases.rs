//! Leases of one namespace: read, watched, and written by compare-and-swap.

mod error;
mod lease;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1 as kubernetes;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions, WatchEvent, WatchParams};
use tokio::time::timeout;

use crate::cluster::Cluster;

pub use error::LeaseError;
pub use lease::{Lease, LeaseEvent, LeaseList, LeaseOwner};

/// Time limit for one request. A watch may stay open for longer. It is below the shortest time to live of a member,
/// so that a member whose requests are just in time stays.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// After how many seconds the API server ends a watch. Its default is at least 1800 s.
const WATCH_SECONDS: u32 = 280;

/// The Leases of one namespace that have a certain label. Clones share the count of writes.
#[derive(Clone, Debug)]
pub struct Leases {
    api: Api<kubernetes::Lease>,
    namespace: String,
    label: (String, String),
    writes: Arc<AtomicU64>,
}

impl Leases {
    /// Returns the Leases in `namespace` whose label `label.0` is `label.1`.
    pub fn new(cluster: &Cluster, namespace: &str, label: (&str, &str)) -> Self {
        let api = Api::namespaced(cluster.client(), namespace);
        let label = (label.0.to_owned(), label.1.to_owned());
        Self { api, namespace: namespace.to_owned(), label, writes: Arc::default() }
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns how many creations, replacements and deletions were sent, whatever came of them.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Lists the Leases as they are at this moment.
    ///
    /// # Errors
    /// [`LeaseError::Refused`], [`LeaseError::Throttled`] or [`LeaseError::Unavailable`].
    pub async fn list(&self) -> Result<LeaseList, LeaseError> {
        let params = ListParams::default().labels(&self.selector());
        let list = self.request("list", self.api.list(&params)).await?;
        let resource_version = list.metadata.resource_version.unwrap_or_default();
        Ok(LeaseList { leases: list.items.into_iter().map(Lease::from).collect(), resource_version })
    }

    /// Watches the changes after a listing. The stream ends when the API server ends it, which is not an
    /// error: list again then.
    ///
    /// # Errors
    /// [`LeaseError::Refused`], also when the listing is too old to continue from, or
    /// [`LeaseError::Unavailable`].
    pub async fn watch(
        &self,
        resource_version: &str,
    ) -> Result<impl Stream<Item = Result<LeaseEvent, LeaseError>> + Send + use<>, LeaseError> {
        let params = WatchParams::default().labels(&self.selector()).timeout(WATCH_SECONDS);
        let events = self.request("watch", self.api.watch(&params, resource_version)).await?;
        let namespace = self.namespace.clone();
        Ok(events.filter_map(move |event| {
            let event = match event {
                Ok(WatchEvent::Added(lease) | WatchEvent::Modified(lease)) => {
                    Some(Ok(LeaseEvent::Changed(lease.into())))
                }
                Ok(WatchEvent::Deleted(lease)) => Some(Ok(LeaseEvent::Deleted(lease.into()))),
                Ok(WatchEvent::Bookmark(_)) => None,
                Ok(WatchEvent::Error(status)) => {
                    Some(Err(LeaseError::new("watch", &namespace, kube::Error::Api(status))))
                }
                Err(error) => Some(Err(LeaseError::new("watch", &namespace, error))),
            };
            std::future::ready(event)
        }))
    }

    /// Reads one Lease, whatever its labels; `None` if there is none of this name.
    ///
    /// # Errors
    /// [`LeaseError::Refused`], [`LeaseError::Throttled`] or [`LeaseError::Unavailable`].
    pub async fn get(&self, name: &str) -> Result<Option<Lease>, LeaseError> {
        Ok(self.request("get", self.api.get_opt(name)).await?.map(Lease::from))
    }

    /// Creates a Lease, with the label. Returns it as stored.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if there is one of this name.
    pub async fn create(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        let (object, params) = (lease.to_object(&self.label), PostParams::default());
        self.count_write();
        Ok(self.request("create", self.api.create(&params, &object)).await?.into())
    }

    /// Replaces a Lease that still has `lease.resource_version`. Returns it as stored.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if it has changed since; [`LeaseError::NotFound`] if it is gone.
    pub async fn replace(&self, lease: &Lease) -> Result<Lease, LeaseError> {
        let (object, params) = (lease.to_object(&self.label), PostParams::default());
        self.count_write();
        Ok(self.request("update", self.api.replace(&lease.name, &params, &object)).await?.into())
    }

    /// Deletes a Lease that still has `lease.resource_version`.
    ///
    /// # Errors
    /// [`LeaseError::Conflict`] if it has changed since; [`LeaseError::NotFound`] if it is gone.
    pub async fn delete(&self, lease: &Lease) -> Result<(), LeaseError> {
        let preconditions = Preconditions {
            resource_version: Some(lease.resource_version.clone()),
            uid: Some(lease.uid.clone()),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.count_write();
        self.request("delete", self.api.delete(&lease.name, &params)).await?;
        Ok(())
    }

    fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    fn selector(&self) -> String {
        format!("{}={}", self.label.0, self.label.1)
    }

    /// Awaits a response for at most [`REQUEST_TIMEOUT`].
    async fn request<T>(
        &self,
        verb: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, LeaseError> {
        match timeout(REQUEST_TIMEOUT, request).await {
            Ok(response) => response.map_err(|error| LeaseError::new(verb, &self.namespace, error)),
            Err(_) => Err(LeaseError::timeout(verb, &self.namespace)),
        }
    }
}
