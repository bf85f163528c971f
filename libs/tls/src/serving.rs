//! Serving those who are not asked who they are.

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

use crate::files::{FileError, HTTP2, KeyedChain, PairFlags, current, keyed_chain, mismatch, read};
use crate::offer::Offer;
use crate::reread::{Reread, Source};

/// The flag that names the folder with both files.
const FOLDER: PairFlags = PairFlags { cert: "--cert-path", key: "--cert-path" };

/// What Kubernetes calls the files of a certificate and its key.
const FILES: [&str; 2] = ["tls.crt", "tls.key"];

/// What a certificate of one's own making says of whom it is.
const NAME: &str = "Signalbox";

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// For so long a certificate of one's own making is valid: 10 years. It is made anew at each start.
const VALID: Duration = DAY.saturating_mul(3_652);

/// How a process serves those whom it does not ask who they are.
#[derive(Clone, Debug)]
pub enum Serving {
    /// Without TLS.
    Plaintext,
    /// With TLS.
    Tls(Arc<Shown>),
}

/// What is shown to those who connect.
#[derive(Debug)]
pub struct Shown(Origin);

#[derive(Debug)]
enum Origin {
    Made(Arc<ServerConfig>),
    Folder(Reread<Folder>),
}

/// No certificate can be made.
#[derive(Debug, Error)]
#[error("a certificate cannot be made: {0}")]
pub struct SelfSignedError(String);

/// Where certificate and key are.
#[derive(Debug)]
struct Folder {
    cert: PathBuf,
    key: PathBuf,
    offer: Offer,
}

/// What is in the files. Its debug form tells nothing of it.
#[derive(PartialEq, Eq)]
struct Pair([Vec<u8>; 2]);

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pair")
    }
}

impl Serving {
    /// With a new certificate that nobody but itself has signed: for those who do not look at it.
    ///
    /// # Errors
    /// [`SelfSignedError`] when the system gives no randomness, or there is nothing in `offer` that can be spoken.
    pub fn self_signed(offer: &Offer) -> Result<Self, SelfSignedError> {
        let pair = made().map_err(|error| SelfSignedError(error.to_string()))?;
        let config = config(pair, offer).map_err(|error| SelfSignedError(error.to_string()))?;
        Ok(Self::Tls(Arc::new(Shown(Origin::Made(Arc::new(config))))))
    }

    /// With the certificate and key in `folder`, `tls.crt` and `tls.key`. They are read again for new connections when they change, within
    /// a second; files that make no sense are logged, and those before stay in use.
    ///
    /// # Errors
    /// [`FileError`] when the files are of no use now.
    pub fn of_folder(folder: &Path, offer: Offer) -> Result<Self, FileError> {
        let [cert, key] = FILES.map(|name| folder.join(name));
        let shown = Reread::load(Folder { cert, key, offer })?;
        Ok(Self::Tls(Arc::new(Shown(Origin::Folder(shown)))))
    }
}

impl Shown {
    /// What a new connection is made by.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        match &self.0 {
            Origin::Made(config) => Arc::clone(config),
            Origin::Folder(folder) => folder.latest(),
        }
    }

    /// Looks at the files with the next connection.
    #[cfg(test)]
    pub(crate) fn expire(&self) {
        if let Origin::Folder(folder) = &self.0 {
            folder.expire();
        }
    }
}

impl Source for Folder {
    type Material = Pair;
    type Made = Arc<ServerConfig>;

    fn read(&self) -> Result<Pair, FileError> {
        Ok(Pair([read(FOLDER.cert, &self.cert)?, read(FOLDER.key, &self.key)?]))
    }

    fn make(&self, Pair([cert, key]): &Pair) -> Result<Arc<ServerConfig>, FileError> {
        let pair = keyed_chain(FOLDER, (&self.cert, cert), (&self.key, key))?;
        // Gateways do not look at it: better served with it than not at all.
        if let Err(cause) = current(&pair.0[0]) {
            tracing::warn!(file = %self.cert.display(), %cause, "who verifies the certificate is not served");
        }
        let unfit = |error: rustls::Error| mismatch(FOLDER, &self.cert, &self.key, error.to_string());
        config(pair, &self.offer).map(Arc::new).map_err(unfit)
    }
}

fn config((chain, key): KeyedChain, offer: &Offer) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(offer.provider())
        .with_protocol_versions(offer.versions())?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// A certificate with a key on the curve P-256, which every gateway's TLS knows, and which is made in no time.
fn made() -> Result<KeyedChain, rcgen::Error> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut params = CertificateParams::new([NAME.to_lowercase()])?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.distinguished_name.push(DnType::OrganizationName, NAME);
    // Others' clocks may be behind.
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + (now + VALID);
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}
