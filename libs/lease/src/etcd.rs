//! A coordinator in etcd.

mod claims;
mod keeper;
mod lease;
mod outage;
mod watching;

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

use crate::board::Board;
use crate::{ClaimError, Unavailable, keys};

pub(crate) use lease::Lease;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// How often a silent connection is asked whether it lives: etcd hangs up on those who ask more often than every 5 s. What has to be
/// noticed sooner is asked for by the watch and by the keepers of leases.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The least that etcd grants.
const LEAST_TTL: Duration = Duration::from_secs(2);

/// Where etcd is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct EtcdSettings {
    /// Its members; any will do.
    pub endpoints: Vec<PeerAddress>,
    /// As whom.
    pub login: Option<Login>,
    /// With TLS, if at all.
    pub tls: Option<TlsFiles>,
}

/// A user of etcd.
#[derive(Clone, Debug)]
pub struct Login {
    /// Its name.
    pub user: String,
    /// The file with its password, read at each connection; white space around it does not count.
    pub password_file: PathBuf,
}

/// PEM files, read at each connection.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Who must have signed etcd's certificate.
    pub ca: PathBuf,
    /// This process's certificate and key, where etcd asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Why etcd could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    #[error(transparent)]
    Client(#[from] Error),
    #[error("{} cannot be read: {}", .0.display(), .1)]
    File(PathBuf, std::io::Error),
    #[error("it does not answer")]
    NoAnswer,
    #[error("it ended the stream")]
    Closed,
    #[error("it ended the watch: {0}")]
    Cancelled(String),
    #[error("the lease is lost")]
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

pub(crate) struct Hub {
    settings: EtcdSettings,
    pub(crate) board: Arc<Board>,
    client: Mutex<Option<Client>>,
    /// The longest time to live of this process's leases.
    ttl_ms: AtomicU64,
    watcher: OnceLock<AbortHandle>,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
    }
}

impl Hub {
    pub(crate) fn start(settings: EtcdSettings) -> Arc<Self> {
        let (board, client) = (Arc::new(Board::default()), Mutex::new(None));
        let ttl_ms = AtomicU64::new(LEAST_TTL.as_millis() as u64);
        let hub = Arc::new(Self { settings, board, client, ttl_ms, watcher: OnceLock::new() });
        hub.watcher.get_or_init(|| tokio::spawn(watching::watch(Arc::downgrade(&hub))).abort_handle());
        hub
    }

    /// A lease of this process lasts so long; others' are taken to last no longer.
    fn lasts(&self, ttl: Duration) {
        self.ttl_ms.fetch_max(ttl.as_millis() as u64, Ordering::Relaxed);
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms.load(Ordering::Relaxed))
    }

    /// A client of the one connection, which is made when it is needed.
    async fn client(&self) -> Result<Client, EtcdError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let scheme = if self.settings.tls.is_some() { "https" } else { "http" };
        let urls: Vec<_> = self.settings.endpoints.iter().map(|at| format!("{scheme}://{at}")).collect();
        let connected = answer(Client::connect(urls, Some(self.options().await?))).await?;
        Ok(client.insert(connected).clone())
    }

    /// The connection may be to blame for what went wrong: files are read and names looked up again.
    async fn forget_client(&self) {
        *self.client.lock().await = None;
    }

    async fn options(&self) -> Result<ConnectOptions, EtcdError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(DEADLINE)
            .with_keep_alive(KEEP_ALIVE, DEADLINE)
            .with_keep_alive_while_idle(true)
            // A member that is cut off from the others says so, rather than nothing.
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

    pub(crate) async fn publish(&self, pool: &PoolId, signal: Bytes) -> Result<(), Unavailable> {
        let mut client = self.client().await?;
        answer(client.put(keys::signal_key(pool), signal, None)).await?;
        Ok(())
    }

    pub(crate) async fn published(&self, pool: &PoolId) -> Result<Option<Bytes>, Unavailable> {
        let mut client = self.client().await?;
        let mut got = answer(client.get(keys::signal_key(pool), None)).await?;
        Ok(got.take_kvs().pop().map(|entry| entry.value().to_vec().into()))
    }
}

async fn read(path: &PathBuf) -> Result<Vec<u8>, EtcdError> {
    tokio::fs::read(path).await.map_err(|error| EtcdError::File(path.clone(), error))
}

/// What etcd answers in time.
async fn answer<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, EtcdError> {
    Ok(timeout(DEADLINE, asked).await.map_err(|_| EtcdError::NoAnswer)??)
}
