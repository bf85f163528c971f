//! TLS client configuration that accepts any certificate.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, Error};

use crate::parameters::{ALPN_HTTP2, VERSIONS};
use crate::pem::KeyedChain;
use crate::signatures::check_signatures;

/// Accepts any certificate whose key the server has.
#[derive(Debug)]
struct AcceptAnyCertificate(WebPkiSupportedAlgorithms);

/// Returns a configuration that accepts any certificate, and presents `own` to servers that ask for one.
pub(crate) fn unverified_client_config(own: Option<&KeyedChain>) -> Result<ClientConfig, Error> {
    let provider = ring::default_provider();
    let verifier = Arc::new(AcceptAnyCertificate(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&VERSIONS)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key())?,
    };
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    Ok(config)
}

impl ServerCertVerifier for AcceptAnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    check_signatures!(0);
}
