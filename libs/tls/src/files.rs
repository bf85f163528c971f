//! The files: an authority's certificates, this process's own, and its key.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use thiserror::Error;

use crate::peers::{Names, Peers};
use crate::reread::Source;

/// The flags that name this process's own.
const OWN: PairFlags = PairFlags { cert: "--tls-cert", key: "--tls-key" };

/// What is spoken inside.
pub(crate) const HTTP2: &[u8] = b"h2";

/// The latest first.
pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// A certificate, those between it and the authority's, and its key.
pub(crate) type KeyedChain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A file is not what it should be.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{flag} {}: {cause}", .path.display())]
    Unreadable {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// There is nothing of use in it.
    #[error("{flag} {}: {wanted} is wanted, in PEM: {cause}", .path.display())]
    Useless {
        /// The flag that names it.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// What is the matter with it.
        cause: String,
    },
    /// Certificate and key do not belong together, or nobody would trust the certificate.
    #[error("{cert_flag} {} with {key_flag} {}: {cause}", .cert.display(), .key.display())]
    Mismatch {
        /// The flag that names the certificate.
        cert_flag: &'static str,
        /// The certificate.
        cert: PathBuf,
        /// The flag that names the key.
        key_flag: &'static str,
        /// The key.
        key: PathBuf,
        /// What is the matter with them.
        cause: String,
    },
}

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) names: Names,
}

/// The flags that name a certificate and its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairFlags {
    pub(crate) cert: &'static str,
    pub(crate) key: &'static str,
}

/// What is in them. Its debug form tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Material {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What connections are made by.
#[derive(Clone, Debug)]
pub(crate) struct Configs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material")
    }
}

impl Source for Files {
    type Material = Material;
    type Made = Configs;

    fn read(&self) -> Result<Material, FileError> {
        Ok(Material {
            ca: read("--tls-ca", &self.ca)?,
            cert: read(OWN.cert, &self.cert)?,
            key: read(OWN.key, &self.key)?,
        })
    }

    fn make(&self, material: &Material) -> Result<Configs, FileError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("--tls-ca", &self.ca, &material.ca)? {
            let unfit = |error: rustls::Error| useless("--tls-ca", &self.ca, "a certificate", error);
            roots.add(certificate).map_err(unfit)?;
        }
        let pair = keyed_chain(OWN, (&self.cert, &material.cert), (&self.key, &material.key))?;
        let mismatch = |cause: String| mismatch(OWN, &self.cert, &self.key, cause);
        current(&pair.0[0]).map_err(mismatch)?;
        self.assemble(Arc::new(roots), pair).map_err(|error| mismatch(error.to_string()))
    }
}

impl Files {
    fn assemble(
        &self,
        roots: Arc<RootCertStore>,
        (chain, key): KeyedChain,
    ) -> Result<Configs, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let peers = Arc::new(Peers::new(&provider, roots, self.names.clone())?);
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&VERSIONS)?
            .with_client_cert_verifier(Arc::clone(&peers) as _)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(peers)
            .with_client_auth_cert(chain, key)?;
        // Who takes up a session again is not looked at again: a certificate that has ended since would do.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        server.alpn_protocols = vec![HTTP2.to_vec()];
        client.alpn_protocols = vec![HTTP2.to_vec()];
        Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
    }
}

pub(crate) fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|cause| FileError::Unreadable { flag, path: path.to_owned(), cause })
}

/// What is in the PEM files of a certificate and its key, each with where it is.
pub(crate) fn keyed_chain(
    flags: PairFlags,
    (cert, chain): (&Path, &[u8]),
    (key, secret): (&Path, &[u8]),
) -> Result<KeyedChain, FileError> {
    let chain = certificates(flags.cert, cert, chain)?;
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|error| useless(flags.key, key, "a private key", error))?;
    Ok((chain, secret))
}

pub(crate) fn mismatch(flags: PairFlags, cert: &Path, key: &Path, cause: String) -> FileError {
    let (cert, key) = (cert.to_owned(), key.to_owned());
    FileError::Mismatch { cert_flag: flags.cert, cert, key_flag: flags.key, key, cause }
}

fn certificates(
    flag: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| useless(flag, path, "a certificate", error))?;
    if found.is_empty() {
        return Err(useless(flag, path, "a certificate", "there is none in it"));
    }
    Ok(found)
}

fn useless(flag: &'static str, path: &Path, wanted: &'static str, cause: impl fmt::Display) -> FileError {
    FileError::Useless { flag, path: path.to_owned(), wanted, cause: cause.to_string() }
}

/// Whether a certificate is valid now, whoever signed it.
pub(crate) fn current(certificate: &CertificateDer<'_>) -> Result<(), String> {
    use webpki::{EndEntityCert, Error, KeyUsage};
    let parsed = EndEntityCert::try_from(certificate).map_err(|error| format!("{error:?}"))?;
    let anchors = [webpki::anchor_from_trusted_cert(certificate).map_err(|error| format!("{error:?}"))?];
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let verified = parsed.verify_for_usage(
        algorithms,
        &anchors,
        &[],
        UnixTime::now(),
        KeyUsage::server_auth(),
        None,
        None,
    );
    match verified.map(|_| ()) {
        Err(Error::CertExpired { not_after, .. }) => {
            Err(format!("the certificate ended {} s after 1970; renew it", not_after.as_secs()))
        }
        Err(Error::CertNotValidYet { not_before, .. }) => {
            Err(format!("the certificate begins {} s after 1970; look at the clock", not_before.as_secs()))
        }
        // Who signed it, and for what, is for others to say.
        Ok(()) | Err(_) => Ok(()),
    }
}
