//! Issues certificates for tests of TLS.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::test_dir::TestDir;

/// A certificate authority whose certificate is in a file.
#[derive(Debug)]
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
}

impl CertificateAuthority {
    /// Creates an authority with the common name `name`.
    ///
    /// # Errors
    /// Fails when its certificate cannot be created or written.
    pub fn new(dir: &TestDir, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let (key, file) = (KeyPair::generate()?, dir.path().join(format!("{name}.pem")));
        fs::write(&file, params.self_signed(&key)?.pem())?;
        Ok(Self { issuer: Issuer::new(params, key), file })
    }

    /// Returns the PEM file of its certificate.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Issues a certificate for 127.0.0.1 and the DNS name `name`. Returns the PEM files of the certificate
    /// and its key.
    ///
    /// # Errors
    /// Fails when they cannot be created or written.
    pub fn issue(&self, dir: &TestDir, name: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(["127.0.0.1".to_owned(), name.to_owned()])?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let files = ["pem", "key"].map(|kind| dir.path().join(format!("{name}.{kind}")));
        fs::write(&files[0], certificate.pem())?;
        fs::write(&files[1], key.serialize_pem())?;
        Ok(files.into())
    }
}
