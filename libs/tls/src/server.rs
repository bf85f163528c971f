//! TLS towards clients that are not authenticated, such as gateways, or only later, from their requests.

mod accept;
mod any_client;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use thiserror::Error;

use self::any_client::AnyClient;
use crate::parameters::{ALPN_HTTP1, ALPN_HTTP2, TlsParameters};
use crate::pem::{FileError, KeyedChain, PairFlags, check_validity_period, keyed_chain, mismatch, read};
use crate::reload::{ReloadSource, Reloading};

/// File names of a certificate and its key in a `kubernetes.io/tls` Secret.
const FILE_NAMES: [&str; 2] = ["tls.crt", "tls.key"];

/// Subject of a self-signed certificate.
const SELF_SIGNED_NAME: &str = "Signalbox";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Validity of a self-signed certificate: 10 years. Each start generates a new one.
const SELF_SIGNED_VALIDITY: Duration = DAY.saturating_mul(3_652);

/// How a process serves clients that it does not authenticate.
#[derive(Clone, Debug)]
pub enum ServerTls {
    /// Without TLS.
    Plaintext,
    /// With TLS and this certificate.
    Tls(Arc<ServerCertificate>),
}

/// The certificate that a server presents.
#[derive(Debug)]
pub struct ServerCertificate(CertificateSource);

#[derive(Debug)]
enum CertificateSource {
    SelfSigned(Arc<ServerConfig>),
    Directory(Box<Reloading<CertificateDirectory>>),
}

/// A self-signed certificate could not be generated.
#[derive(Debug, Error)]
#[error("cannot generate a self-signed certificate: {0}")]
pub struct SelfSignedError(String);

/// Paths of a certificate and its key, and the TLS parameters to use with them.
#[derive(Debug)]
struct CertificateDirectory {
    /// The flag that names the directory.
    flags: PairFlags,
    cert: PathBuf,
    key: PathBuf,
    parameters: TlsParameters,
    clients: Clients,
}

/// The clients of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clients {
    /// Speak HTTP/2 and are not asked who they are.
    Http2,
    /// Speak HTTP/1.1 and are asked for a certificate.
    Http1WithCertificates,
}

/// Contents of the certificate file and the key file. The debug form reveals nothing of them.
#[derive(PartialEq, Eq)]
struct PairContents([Vec<u8>; 2]);

impl fmt::Debug for PairContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairContents")
    }
}

impl ServerTls {
    /// Generates a self-signed certificate, for clients that do not verify it.
    ///
    /// # Errors
    /// [`SelfSignedError`] when the system has no randomness or `parameters` allow no cipher suite.
    pub fn self_signed(parameters: &TlsParameters) -> Result<Self, SelfSignedError> {
        let pair = self_signed_pair().map_err(|error| SelfSignedError(error.to_string()))?;
        let config = server_config(pair, parameters, Clients::Http2)
            .map_err(|error| SelfSignedError(error.to_string()))?;
        Ok(Self::Tls(Arc::new(ServerCertificate(CertificateSource::SelfSigned(Arc::new(config))))))
    }

    /// Uses `tls.crt` and `tls.key` in the `directory` that `--cert-path` names. New connections use changed files within
    /// a second. Invalid files are logged, and the last valid version stays in use.
    ///
    /// # Errors
    /// [`FileError`] when the files cannot be used now.
    pub fn from_directory(directory: &Path, parameters: TlsParameters) -> Result<Self, FileError> {
        Self::load("--cert-path", directory, parameters, Clients::Http2)
    }

    /// Uses the files in the `directory` that `flag` names, like [`ServerTls::from_directory`], for clients that speak
    /// HTTP/1.1. They are asked for a certificate; [`Connection::chain`](crate::Connection::chain) has what they present,
    /// of which nothing is verified.
    ///
    /// # Errors
    /// [`FileError`] when the files cannot be used now.
    pub fn asking_for_certificates(flag: &'static str, directory: &Path) -> Result<Self, FileError> {
        Self::load(flag, directory, TlsParameters::default(), Clients::Http1WithCertificates)
    }

    fn load(
        flag: &'static str,
        directory: &Path,
        parameters: TlsParameters,
        clients: Clients,
    ) -> Result<Self, FileError> {
        let [cert, key] = FILE_NAMES.map(|name| directory.join(name));
        let flags = PairFlags { cert: flag, key: flag };
        let reloading = Reloading::load(CertificateDirectory { flags, cert, key, parameters, clients })?;
        Ok(Self::Tls(Arc::new(ServerCertificate(CertificateSource::Directory(Box::new(reloading))))))
    }
}

impl ServerCertificate {
    /// Returns the configuration for a new connection.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        match &self.0 {
            CertificateSource::SelfSigned(config) => Arc::clone(config),
            CertificateSource::Directory(directory) => directory.current(),
        }
    }

    /// Makes the next connection check the files.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        if let CertificateSource::Directory(directory) = &self.0 {
            directory.expire();
        }
    }
}

impl ReloadSource for CertificateDirectory {
    type Contents = PairContents;
    type Output = Arc<ServerConfig>;

    fn read(&self) -> Result<PairContents, FileError> {
        Ok(PairContents([read(self.flags.cert, &self.cert)?, read(self.flags.key, &self.key)?]))
    }

    fn build(&self, PairContents([cert, key]): &PairContents) -> Result<Arc<ServerConfig>, FileError> {
        let pair = keyed_chain(self.flags, (&self.cert, cert), (&self.key, key))?;
        // Most gateways do not verify the certificate, so an expired one is better than no service.
        if let Err(cause) = check_validity_period(&pair.0[0]) {
            tracing::warn!(
                file = %self.cert.display(), %cause,
                "serving a certificate outside of its validity period; clients that verify it cannot connect"
            );
        }
        let unfit = |error: rustls::Error| mismatch(self.flags, &self.cert, &self.key, error.to_string());
        server_config(pair, &self.parameters, self.clients).map(Arc::new).map_err(unfit)
    }
}

fn server_config(
    (chain, key): KeyedChain,
    parameters: &TlsParameters,
    clients: Clients,
) -> Result<ServerConfig, rustls::Error> {
    let provider = parameters.provider();
    let asked = Arc::new(AnyClient::new(&provider));
    let builder =
        ServerConfig::builder_with_provider(provider).with_protocol_versions(parameters.versions())?;
    let (builder, protocol) = match clients {
        Clients::Http2 => (builder.with_no_client_auth(), ALPN_HTTP2),
        Clients::Http1WithCertificates => (builder.with_client_cert_verifier(asked), ALPN_HTTP1),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// Generates a certificate whose key is on the curve P-256: every gateway's TLS supports it, and it is fast
/// to generate.
fn self_signed_pair() -> Result<KeyedChain, rcgen::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut params = CertificateParams::new([SELF_SIGNED_NAME.to_lowercase()])?;
    params.distinguished_name.push(DnType::CommonName, SELF_SIGNED_NAME);
    params.distinguished_name.push(DnType::OrganizationName, SELF_SIGNED_NAME);
    // The clocks of clients may be behind.
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + (now + SELF_SIGNED_VALIDITY);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
