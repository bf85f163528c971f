//! A coordinator in etcd.

mod claims;
mod lease;
mod registration;
mod watch;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{Certificate, Client, ConnectOptions, Error, Identity, TlsOptions};
use signalbox_types::{PeerAddress, PoolId};
use tokio::sync::Mutex;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::error::{StoreError, Unavailable};
use crate::ownership::ClaimError;
use crate::registry::{Registry, keys};

pub(crate) use lease::Lease;

/// Time limit for one request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval of keep-alive pings. etcd closes connections that send more than one in 5 s. What must be noticed
/// sooner is checked by the watch and by the renewals of leases.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Minimum time to live that etcd grants.
const MIN_TTL: Duration = Duration::from_secs(2);

/// How to connect to etcd.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// Addresses of its members; one is enough.
    pub endpoints: Vec<PeerAddress>,
    /// The user, if etcd requires one.
    pub login: Option<Login>,
    /// TLS files; `None` means plaintext.
    pub tls: Option<TlsFiles>,
}

/// A user of etcd.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name of the user.
    pub user: String,
    /// File with the password, read at each connect. Surrounding white space is ignored.
    pub password_file: PathBuf,
}

/// PEM files, read at each connect.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Authorities that must have signed etcd's certificate.
    pub ca: PathBuf,
    /// This process's certificate and key, if etcd requires them.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why a request to etcd failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    #[error(transparent)]
    Client(#[from] Error),
    #[error("cannot read {}: {}", .0.display(), .1)]
    File(PathBuf, std::io::Error),
    #[error("etcd did not answer in time")]
    Timeout,
    #[error("etcd closed the stream")]
    Closed,
    #[error("etcd cancelled the watch: {0}")]
    WatchCancelled(String),
    #[error("the lease has expired")]
    LeaseLost,
}

impl From<EtcdError> for ClaimError {
    fn from(error: EtcdError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

impl From<EtcdError> for Unavailable {
    fn from(error: EtcdError) -> Self {
        Self(error.to_string())
    }
}

impl From<EtcdError> for StoreError {
    fn from(error: EtcdError) -> Self {
        Self::Unavailable(error.into())
    }
}

pub(crate) struct EtcdCoordinator {
    settings: EtcdSettings,
    pub(crate) registry: Arc<Registry>,
    client: Mutex<Option<Client>>,
    /// Longest time to live of this process's leases, in milliseconds.
    max_ttl_ms: AtomicU64,
    watch_task: OnceLock<AbortHandle>,
}

impl std::fmt::Debug for EtcdCoordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdCoordinator").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for EtcdCoordinator {
    fn drop(&mut self) {
        if let Some(task) = self.watch_task.get() {
            task.abort();
        }
    }
}

impl EtcdCoordinator {
    pub(crate) fn start(settings: EtcdSettings) -> Arc<Self> {
        let (registry, client) = (Arc::new(Registry::default()), Mutex::new(None));
        let max_ttl_ms = AtomicU64::new(MIN_TTL.as_millis() as u64);
        let coordinator =
            Arc::new(Self { settings, registry, client, max_ttl_ms, watch_task: OnceLock::new() });
        coordinator
            .watch_task
            .get_or_init(|| tokio::spawn(watch::watch(Arc::downgrade(&coordinator))).abort_handle());
        coordinator
    }

    /// Records the time to live of one of this process's leases. Those of others are assumed to be no longer.
    fn record_ttl(&self, ttl: Duration) {
        self.max_ttl_ms.fetch_max(ttl.as_millis() as u64, Ordering::Relaxed);
    }

    fn max_ttl(&self) -> Duration {
        Duration::from_millis(self.max_ttl_ms.load(Ordering::Relaxed))
    }

    /// Returns a client of the shared connection, which is opened when it is needed.
    async fn client(&self) -> Result<Client, EtcdError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let urls: Vec<_> =
            self.settings.endpoints.iter().map(|address| format!("{scheme}://{address}")).collect();
        let connected = with_timeout(Client::connect(urls, Some(self.options().await?))).await?;
        Ok(client.insert(connected).clone())
    }

    /// Discards the connection after a failure, so that the next request reads the files and resolves the
    /// names again.
    async fn forget_client(&self) {
        *self.client.lock().await = None;
    }

    async fn options(&self) -> Result<ConnectOptions, EtcdError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(REQUEST_TIMEOUT)
            .with_keep_alive(KEEP_ALIVE, REQUEST_TIMEOUT)
            .with_keep_alive_while_idle(true)
            // An etcd member without a leader then returns an error instead of going silent.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(Login { user, password_file }) = &self.settings.login {
            let password = read(password_file).await?;
            options = options.with_user(user, String::from_utf8_lossy(&password).trim());
        }
        if let Some(TlsFiles { ca, identity }) = &self.settings.tls {
            let mut tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca).await?));
            if let Some((certificate, key)) = identity {
                tls = tls.identity(Identity::from_pem(read(certificate).await?, read(key).await?));
            }
            options = options.with_tls(tls);
        }
        Ok(options)
    }

    pub(crate) async fn store_signal(
        &self,
        pool: &PoolId,
        epoch: u64,
        signal: &Bytes,
    ) -> Result<(), StoreError> {
        claims::store_signal(&mut self.client().await?, pool, epoch, signal).await
    }

    pub(crate) async fn read_signal(&self, pool: &PoolId) -> Result<Option<Bytes>, Unavailable> {
        let mut client = self.client().await?;
        let mut response = with_timeout(client.get(keys::signal_key(pool), None)).await?;
        Ok(response.take_kvs().pop().map(|entry| entry.value().to_vec().into()))
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, EtcdError> {
    tokio::fs::read(path).await.map_err(|error| EtcdError::File(path.clone(), error))
}

/// Awaits a response for at most [`REQUEST_TIMEOUT`].
async fn with_timeout<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, EtcdError> {
    Ok(timeout(REQUEST_TIMEOUT, request).await.map_err(|_| EtcdError::Timeout)??)
}
