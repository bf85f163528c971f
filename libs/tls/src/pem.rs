//! Reads certificates and keys from PEM files.

use std::fmt;
use std::path::{Path, PathBuf};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use thiserror::Error;

/// A certificate with its intermediates, and its key.
pub(crate) type KeyedChain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A TLS file cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// The file cannot be read.
    #[error("cannot read {flag} {}: {cause}", .path.display())]
    Unreadable {
        /// Flag that names the file.
        flag: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Why it cannot be read.
        cause: std::io::Error,
    },
    /// The file does not contain what it should.
    #[error("cannot use {flag} {}: expected {expected} in PEM format: {cause}", .path.display())]
    Invalid {
        /// Flag that names the file.
        flag: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What the file should contain.
        expected: &'static str,
        /// What is wrong with it.
        cause: String,
    },
    /// The certificate and the key do not belong together, or the certificate is not valid now.
    #[error("cannot use {cert_flag} {} with {key_flag} {}: {cause}", .cert.display(), .key.display())]
    Mismatch {
        /// Flag that names the certificate.
        cert_flag: &'static str,
        /// Path of the certificate.
        cert: PathBuf,
        /// Flag that names the key.
        key_flag: &'static str,
        /// Path of the key.
        key: PathBuf,
        /// What is wrong with them.
        cause: String,
    },
}

/// The flags that name a certificate and its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PairFlags {
    pub(crate) cert: &'static str,
    pub(crate) key: &'static str,
}

pub(crate) fn read(flag: &'static str, path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|cause| FileError::Unreadable { flag, path: path.to_owned(), cause })
}

/// Parses the contents of a certificate file and of its key file, each given with its path.
pub(crate) fn keyed_chain(
    flags: PairFlags,
    (cert, chain): (&Path, &[u8]),
    (key, secret): (&Path, &[u8]),
) -> Result<KeyedChain, FileError> {
    let chain = certificates(flags.cert, cert, chain)?;
    let secret = PrivateKeyDer::from_pem_slice(secret)
        .map_err(|error| invalid(flags.key, key, "a private key", error))?;
    Ok((chain, secret))
}

pub(crate) fn mismatch(flags: PairFlags, cert: &Path, key: &Path, cause: String) -> FileError {
    let (cert, key) = (cert.to_owned(), key.to_owned());
    FileError::Mismatch { cert_flag: flags.cert, cert, key_flag: flags.key, key, cause }
}

/// Parses one or more certificates.
pub(crate) fn certificates(
    flag: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| invalid(flag, path, "a certificate", error))?;
    if found.is_empty() {
        return Err(invalid(flag, path, "a certificate", "the file has none"));
    }
    Ok(found)
}

pub(crate) fn invalid(
    flag: &'static str,
    path: &Path,
    expected: &'static str,
    cause: impl fmt::Display,
) -> FileError {
    FileError::Invalid { flag, path: path.to_owned(), expected, cause: cause.to_string() }
}

/// Checks that a certificate is valid at this time, regardless of its signer.
pub(crate) fn check_validity_period(certificate: &CertificateDer<'_>) -> Result<(), String> {
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
            Err(format!("the certificate expired at Unix time {} s; renew it", not_after.as_secs()))
        }
        Err(Error::CertNotValidYet { not_before, .. }) => Err(format!(
            "the certificate is valid from Unix time {} s; check the clock",
            not_before.as_secs()
        )),
        // Verifiers check the signature and the key usage during the handshake.
        Ok(()) | Err(_) => Ok(()),
    }
}
