//! Reads the certificates for TLS connections to a collector.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use super::error::TraceError;

/// A file in PEM format, and the variable that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PemFile {
    pub(super) variable: &'static str,
    pub(super) path: PathBuf,
}

/// The files that a TLS connection uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// The authorities that may have signed the collector's certificate; `None` for those of the system.
    pub(super) authorities: Option<PemFile>,
    /// The certificate and the key that the collector is shown.
    pub(super) identity: Option<[PemFile; 2]>,
}

/// Whether a configuration trusts the authorities of the system. Reading them takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SystemAuthorities {
    Trusted,
    /// For a configuration that opens no connections.
    Unread,
}

impl PemFile {
    fn read(&self) -> Result<Vec<u8>, TraceError> {
        std::fs::read(&self.path).map_err(|error| self.problem(error))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TraceError> {
        let certificates = CertificateDer::pem_slice_iter(&self.read()?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.problem(error))?;
        if certificates.is_empty() {
            return Err(self.problem("it has no certificate in PEM format"));
        }
        Ok(certificates)
    }

    fn problem(&self, problem: impl std::fmt::Display) -> TraceError {
        let Self { variable, path } = self;
        TraceError::Exporter(format!("{variable}: cannot use {}: {problem}", path.display()))
    }
}

impl TlsFiles {
    /// Returns the settings of connections for gRPC. They do not tell whether the files can be used: see
    /// [`Self::rustls_config`].
    pub(super) fn tonic_config(&self) -> Result<ClientTlsConfig, TraceError> {
        let mut config = ClientTlsConfig::new();
        config = match &self.authorities {
            Some(file) => config.ca_certificate(Certificate::from_pem(file.read()?)),
            None => config.with_native_roots(),
        };
        if let Some([certificate, key]) = &self.identity {
            config = config.identity(Identity::from_pem(certificate.read()?, key.read()?));
        }
        Ok(config)
    }

    /// Returns the settings of connections for HTTP. Without a file of authorities, they trust those of the system, which
    /// are read, or none, as `system` tells.
    ///
    /// # Errors
    /// [`TraceError::Exporter`] if a file cannot be used.
    pub(super) fn rustls_config(&self, system: SystemAuthorities) -> Result<ClientConfig, TraceError> {
        let mut roots = RootCertStore::empty();
        match (&self.authorities, system) {
            (Some(file), _) => {
                for certificate in file.certificates()? {
                    roots.add(certificate).map_err(|error| file.problem(error))?;
                }
            }
            (None, SystemAuthorities::Trusted) => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
            (None, SystemAuthorities::Unread) => {}
        }
        let failed = |error: rustls::Error| TraceError::Exporter(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_root_certificates(roots);
        let Some([certificate, key]) = &self.identity else { return Ok(builder.with_no_client_auth()) };
        let der = PrivateKeyDer::from_pem_slice(&key.read()?).map_err(|error| key.problem(error))?;
        builder
            .with_client_auth_cert(certificate.certificates()?, der)
            .map_err(|error| certificate.problem(error))
    }
}
