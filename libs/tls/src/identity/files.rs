//! Builds mutual TLS configurations from an authority's certificates and this process's own certificate and
//! key.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::peer_verifier::{AllowedNames, PeerVerifier};
use crate::parameters::{ALPN_HTTP2, VERSIONS};
use crate::pem::{
    FileError, KeyedChain, PairFlags, certificates, check_validity_period, invalid, keyed_chain, mismatch,
    read,
};
use crate::reload::ReloadSource;

/// The flags that name this process's certificate and key.
const OWN_FLAGS: PairFlags = PairFlags { cert: "--tls-cert", key: "--tls-key" };

/// Paths of the files, and the names that peers may have.
#[derive(Clone, Debug)]
pub(crate) struct IdentityFiles {
    pub(crate) ca: PathBuf,
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) allowed_names: AllowedNames,
}

/// Contents of the files. The debug form reveals nothing of them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FileContents {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// TLS configurations for incoming and outgoing connections.
#[derive(Clone, Debug)]
pub(crate) struct Configs {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl fmt::Debug for FileContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileContents")
    }
}

impl ReloadSource for IdentityFiles {
    type Contents = FileContents;
    type Output = Configs;

    fn read(&self) -> Result<FileContents, FileError> {
        Ok(FileContents {
            ca: read("--tls-ca", &self.ca)?,
            cert: read(OWN_FLAGS.cert, &self.cert)?,
            key: read(OWN_FLAGS.key, &self.key)?,
        })
    }

    fn build(&self, contents: &FileContents) -> Result<Configs, FileError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("--tls-ca", &self.ca, &contents.ca)? {
            let unfit = |error: rustls::Error| invalid("--tls-ca", &self.ca, "a certificate", error);
            roots.add(certificate).map_err(unfit)?;
        }
        let pair = keyed_chain(OWN_FLAGS, (&self.cert, &contents.cert), (&self.key, &contents.key))?;
        let mismatch = |cause: String| mismatch(OWN_FLAGS, &self.cert, &self.key, cause);
        check_validity_period(&pair.0[0]).map_err(mismatch)?;
        self.configs(Arc::new(roots), pair).map_err(|error| mismatch(error.to_string()))
    }
}

impl IdentityFiles {
    fn configs(&self, roots: Arc<RootCertStore>, (chain, key): KeyedChain) -> Result<Configs, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Arc::new(PeerVerifier::new(&provider, roots, self.allowed_names.clone())?);
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&VERSIONS)?
            .with_client_cert_verifier(Arc::clone(&verifier) as _)
            .with_single_cert(chain.clone(), key.clone_key())?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&VERSIONS)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)?;
        // A resumed session skips verification, so a certificate that has expired since would be accepted.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        server.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        client.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        Ok(Configs { server: Arc::new(server), client: Arc::new(client) })
    }
}
