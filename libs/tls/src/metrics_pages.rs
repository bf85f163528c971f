//! TLS towards the servers of `https` metrics pages. They are not part of the pool's mutual TLS: their
//! certificates come from the platform's authorities or from those of a file.

mod authorities;
mod error;
mod files;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use signalbox_types::MetricsTls;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use self::authorities::{accepting_any, platform, trusting};
pub use self::error::PageTlsError;
use self::files::Defined;
pub use self::files::PageTlsFiles;
use crate::pem::FileError;
use crate::reload::Reloading;

/// How a process opens TLS connections to the servers of metrics pages. Without files, it trusts the platform's
/// authorities; nothing is read or built before the first connection, except the files.
#[derive(Debug, Default)]
pub struct PageTls {
    /// The files, if there are any, and the path of that with authorities.
    files: Option<(Reloading<PageTlsFiles>, Option<PathBuf>)>,
    platform: OnceCell<Arc<RootCertStore>>,
    /// Trusts the platform's authorities.
    verified: OnceCell<Arc<ClientConfig>>,
    /// Accepts any certificate.
    unverified: OnceCell<Arc<ClientConfig>>,
    /// Accepts any certificate, whatever an endpoint says.
    verifies_none: bool,
}

impl PageTls {
    /// Uses these files. New connections use changed files within a second. Invalid files are logged, and their last
    /// valid version stays in use.
    ///
    /// # Errors
    /// [`FileError`] when a file cannot be used now.
    pub fn with_files(files: PageTlsFiles) -> Result<Self, FileError> {
        if files.ca.is_none() && files.own.is_none() {
            return Ok(Self::default());
        }
        let ca = files.ca.clone();
        Ok(Self { files: Some((Reloading::load(files)?, ca)), ..Self::default() })
    }

    /// Accepts any certificate of any server.
    pub fn verifying_none(self) -> Self {
        Self { verifies_none: true, ..self }
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
        let defined = self.files.as_ref().map(|(files, _)| files.current());
        if self.verifies_none || !metrics_tls.is_verified() {
            let build = async || accepting_any(None).map(Arc::new);
            return match defined {
                Some(Defined { unverified, .. }) => Ok(unverified),
                None => Ok(Arc::clone(self.unverified.get_or_try_init(build).await?)),
            };
        }
        let roots = async || self.platform.get_or_try_init(platform).await.cloned();
        match defined {
            Some(Defined { verified: Some(verified), .. }) => Ok(verified),
            Some(Defined { own: Some(own), .. }) => Ok(Arc::new(trusting(roots().await?, Some(&own))?)),
            _ => {
                let build = async || Ok::<_, PageTlsError>(Arc::new(trusting(roots().await?, None)?));
                Ok(Arc::clone(self.verified.get_or_try_init(build).await?))
            }
        }
    }

    fn authorities_file(&self) -> Option<&PathBuf> {
        self.files.as_ref()?.1.as_ref()
    }
}
