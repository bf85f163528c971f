//! The TLS configurations for metrics pages, by which authorities they trust.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::{ClientConfig, Error, RootCertStore};
use rustls_native_certs::{CertificateResult, load_native_certs};
use tokio::task::spawn_blocking;

use super::error::PageTlsError;
use crate::client::unverified_client_config;
use crate::parameters::{ALPN_HTTP1, VERSIONS};
use crate::pem::KeyedChain;

/// Returns the platform's authorities. Those that cannot be used are left out.
pub(super) async fn platform() -> Result<Arc<RootCertStore>, PageTlsError> {
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
    Ok(Arc::new(roots))
}

/// Returns a configuration that accepts any certificate, and presents `own` to servers that ask for one.
pub(super) fn accepting_any(own: Option<&KeyedChain>) -> Result<ClientConfig, Error> {
    let mut config = unverified_client_config(own)?;
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(config)
}

/// Returns a configuration that trusts `roots`, and presents `own` to servers that ask for one.
pub(super) fn trusting(roots: Arc<RootCertStore>, own: Option<&KeyedChain>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&VERSIONS)?
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
    };
    // A resumed session skips verification, so a certificate that has expired since would be accepted.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
    Ok(config)
}
