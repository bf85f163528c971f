//! TLS towards the servers of `https` metrics pages. They are not part of the pool's mutual TLS: their
//! certificates come from the platform's authorities or from those of a file.

mod authorities;
mod error;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use signalbox_types::MetricsTls;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::authorities::{AuthoritiesFile, accepting_any, platform};
pub use self::error::PageTlsError;
use crate::pem::FileError;
use crate::reload::Reloading;

/// How a process opens TLS connections to the servers of metrics pages. Nothing is read or built before the first
/// one, except the authorities file.
#[derive(Debug)]
pub struct PageTls {
    authorities: Authorities,
    /// Accepts any certificate.
    unverified: OnceCell<Arc<ClientConfig>>,
}

/// The authorities that must have issued the servers' certificates.
#[derive(Debug)]
enum Authorities {
    /// Those of the platform, read once.
    Platform(OnceCell<Arc<ClientConfig>>),
    /// Those of a file, with its path.
    File(Reloading<AuthoritiesFile>, PathBuf),
}

impl Default for PageTls {
    /// Trusts the platform's authorities.
    fn default() -> Self {
        Self { authorities: Authorities::Platform(OnceCell::new()), unverified: OnceCell::new() }
    }
}

impl PageTls {
    /// Trusts the authorities in the file `ca` instead of the platform's. New connections use a changed file within a
    /// second. An invalid file is logged, and the last valid version stays in use.
    ///
    /// # Errors
    /// [`FileError`] when the file cannot be used now.
    pub fn with_authorities(ca: PathBuf) -> Result<Self, FileError> {
        let reloading = Reloading::load(AuthoritiesFile(ca.clone()))?;
        Ok(Self { authorities: Authorities::File(reloading, ca), unverified: OnceCell::new() })
    }

    /// Performs the TLS handshake on `stream`, which is connected to `host`: the host name or IP address of the page's
    /// URL, for which the certificate must be valid unless `metrics_tls` says otherwise.
    ///
    /// # Errors
    /// [`PageTlsError`], which names the likely mistake and how to fix it.
    pub async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
        metrics_tls: MetricsTls,
    ) -> Result<TlsStream<TcpStream>, PageTlsError> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| PageTlsError::Host(host.to_owned()))?;
        let config = self.client_config(metrics_tls).await?;
        let connected = TlsConnector::from(config).connect(name, stream).await;
        connected.map_err(|error| PageTlsError::from_handshake(error, host, self.authorities_file()))
    }

    /// Returns the configuration by which connections are opened.
    ///
    /// # Errors
    /// [`PageTlsError`] when the platform's authorities cannot be read.
    pub async fn client_config(&self, metrics_tls: MetricsTls) -> Result<Arc<ClientConfig>, PageTlsError> {
        match (metrics_tls, &self.authorities) {
            (MetricsTls::Unverified, _) => {
                let config = self.unverified.get_or_try_init(async || accepting_any().map(Arc::new)).await;
                Ok(Arc::clone(config?))
            }
            (MetricsTls::Verified, Authorities::Platform(config)) => {
                Ok(Arc::clone(config.get_or_try_init(platform).await?))
            }
            (MetricsTls::Verified, Authorities::File(reloading, _)) => Ok(reloading.current()),
        }
    }

    fn authorities_file(&self) -> Option<&PathBuf> {
        match &self.authorities {
            Authorities::Platform(_) => None,
            Authorities::File(_, path) => Some(path),
        }
    }
}
