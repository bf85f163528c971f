//! The TLS configurations for metrics pages, by which authorities they trust.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_native_certs};
use tokio::task::spawn_blocking;

use super::error::PageTlsError;
use crate::client::unverified_client_config;
use crate::parameters::VERSIONS;
use crate::pem::{FileError, certificates, invalid, read};
use crate::reload::ReloadSource;

/// The application protocol inside TLS.
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// The flag that names the authorities file.
const FLAG: &str = "--metrics-ca";

/// Path of a file with the certificates of authorities.
#[derive(Debug)]
pub(super) struct AuthoritiesFile(pub(super) PathBuf);

impl ReloadSource for AuthoritiesFile {
    type Contents = Vec<u8>;
    type Output = Arc<ClientConfig>;

    fn read(&self) -> Result<Vec<u8>, FileError> {
        read(FLAG, &self.0)
    }

    fn build(&self, contents: &Vec<u8>) -> Result<Arc<ClientConfig>, FileError> {
        let unfit = |error: rustls::Error| invalid(FLAG, &self.0, "a certificate", error);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(FLAG, &self.0, contents)? {
            roots.add(certificate).map_err(unfit)?;
        }
        trusting(roots).map(Arc::new).map_err(unfit)
    }
}

/// Returns a configuration that trusts the platform's authorities. Those that cannot be used are left out.
pub(super) async fn platform() -> Result<Arc<ClientConfig>, PageTlsError> {
    let loaded = spawn_blocking(load_native_certs).await;
    let CertificateResult { certs, errors, .. } =
        loaded.map_err(|panic| PageTlsError::NoAuthorities(panic.to_string()))?;
    let mut roots = RootCertStore::empty();
    let (usable, unusable) = roots.add_parsable_certificates(certs);
    if usable == 0 {
        let cause = errors.first().map_or("none is installed".to_owned(), ToString::to_string);
        return Err(PageTlsError::NoAuthorities(cause));
    }
    tracing::info!(usable, unusable, "read the platform's certificate authorities for https metrics pages");
    Ok(Arc::new(trusting(roots)?))
}

/// Returns a configuration that accepts any certificate.
pub(super) fn accepting_any() -> Result<ClientConfig, PageTlsError> {
    let mut config = unverified_client_config()?;
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(config)
}

fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&VERSIONS)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed session skips verification, so a certificate that has expired since would be accepted.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(config)
}
