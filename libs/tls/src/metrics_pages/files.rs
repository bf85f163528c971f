//! The files with authorities and with this process's certificate, for metrics pages.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::authorities::{accepting_any, trusting};
use crate::pem::{FileError, KeyedChain, PairFlags, certificates, invalid, keyed_chain, mismatch, read};
use crate::reload::ReloadSource;

/// The flag that names the authorities file.
const CA_FLAG: &str = "--metrics-ca";
/// The flags that name this process's certificate and key.
const OWN_FLAGS: PairFlags = PairFlags { cert: "--metrics-cert", key: "--metrics-key" };

/// Paths of files for TLS towards the servers of metrics pages, all in PEM.
#[derive(Clone, Debug, Default)]
pub struct PageTlsFiles {
    /// Authorities that are trusted instead of the platform's.
    pub ca: Option<PathBuf>,
    /// Certificate and key that are presented to servers that ask for one.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Contents of the files. The debug form reveals nothing of them.
#[derive(PartialEq, Eq)]
pub(crate) struct Contents {
    ca: Option<Vec<u8>>,
    own: Option<(Vec<u8>, Vec<u8>)>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contents")
    }
}

/// What the files define.
#[derive(Clone)]
pub(crate) struct Defined {
    /// Trusts the authorities of the file, if there is one.
    pub(super) verified: Option<Arc<ClientConfig>>,
    /// Accepts any certificate.
    pub(super) unverified: Arc<ClientConfig>,
    /// This process's certificate and key.
    pub(super) own: Option<Arc<KeyedChain>>,
}

impl fmt::Debug for Defined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Defined")
    }
}

impl ReloadSource for PageTlsFiles {
    type Contents = Contents;
    type Output = Defined;

    fn read(&self) -> Result<Contents, FileError> {
        let own = self.own.as_ref();
        let own = own.map(|(cert, key)| Ok((read(OWN_FLAGS.cert, cert)?, read(OWN_FLAGS.key, key)?)));
        Ok(Contents { ca: self.ca.as_ref().map(|ca| read(CA_FLAG, ca)).transpose()?, own: own.transpose()? })
    }

    fn build(&self, contents: &Contents) -> Result<Defined, FileError> {
        let own = self.own.as_ref().zip(contents.own.as_ref());
        let own = own.map(|((cert, key), (chain, secret))| {
            let pair = keyed_chain(OWN_FLAGS, (cert, chain), (key, secret))?;
            // Also checks that the key is that of the certificate.
            let unverified = accepting_any(Some(&pair));
            let unverified = unverified.map_err(|error| mismatch(OWN_FLAGS, cert, key, error.to_string()))?;
            Ok((Arc::new(pair), unverified))
        });
        let (own, unverified) = own.transpose()?.unzip();
        let ca = self.ca.as_ref().zip(contents.ca.as_ref());
        let verified = ca.map(|(path, contents)| {
            let unfit = |error: rustls::Error| invalid(CA_FLAG, path, "a certificate", error);
            let mut roots = RootCertStore::empty();
            for certificate in certificates(CA_FLAG, path, contents)? {
                roots.add(certificate).map_err(unfit)?;
            }
            trusting(Arc::new(roots), own.as_deref()).map(Arc::new).map_err(unfit)
        });
        let unverified = match unverified {
            Some(unverified) => unverified,
            None => accepting_any(None).map_err(|error| {
                invalid(CA_FLAG, self.ca.as_deref().unwrap_or("".as_ref()), "a certificate", error)
            })?,
        };
        Ok(Defined { verified: verified.transpose()?, unverified: Arc::new(unverified), own })
    }
}
