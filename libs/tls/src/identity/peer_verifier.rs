//! Verifies peers: the authority must have signed the certificate, and its name must be allowed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, DistinguishedName, Error, OtherError, RootCertStore};

use crate::allowed_peer::{AllowedPeer, PeerRole};
use crate::signatures::check_signatures;

/// The roles of clients.
const CLIENTS: &[PeerRole] = &PeerRole::ALL;

/// The role of servers.
const SERVERS: &[PeerRole] = &[PeerRole::Aggregator];

/// Names that a peer's certificate may have, by role. If there are none for servers, a server must have the name
/// that the client connected to. If there are none at all, a client may have any name and every role.
#[derive(Clone, Debug)]
pub(crate) struct AllowedNames(Arc<[AllowedPeer]>);

/// A certificate is signed by the authority, but none of its names is allowed in the peer's role.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerNotAllowed {
    names: Arc<[String]>,
    allowed: Vec<String>,
    /// The roles that the peer could have.
    roles: &'static [PeerRole],
}

/// Verifies the certificates of clients and servers.
#[derive(Debug)]
pub(crate) struct PeerVerifier {
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    clients: Arc<dyn ClientCertVerifier>,
    allowed_names: AllowedNames,
}

impl fmt::Display for PeerNotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the certificate has the names {}, and --tls-peer allows ", self.names.join(", "))?;
        match self.allowed.as_slice() {
            [] => f.write_str("none")?,
            allowed => f.write_str(&allowed.join(", "))?,
        }
        if self.roles.len() < CLIENTS.len() {
            let roles: Vec<_> = self.roles.iter().map(PeerRole::to_string).collect();
            write!(f, " as {}", roles.join(" or "))?;
        }
        Ok(())
    }
}

// rustls prints the errors inside of its own errors in the debug form.
impl fmt::Debug for PeerNotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for PeerNotAllowed {}

impl AllowedNames {
    pub(crate) fn new(names: &[AllowedPeer]) -> Self {
        Self(names.into())
    }

    /// Checks that a client whose certificate has these names may have one of `roles`.
    pub(super) fn authorize(
        &self,
        names: &Arc<[String]>,
        roles: &'static [PeerRole],
    ) -> Result<(), PeerNotAllowed> {
        if self.0.is_empty() || self.names(roles).any(|allowed| names.iter().any(|name| name == allowed)) {
            return Ok(());
        }
        let allowed = self.names(roles).map(str::to_owned).collect();
        Err(PeerNotAllowed { names: Arc::clone(names), allowed, roles })
    }

    fn names(&self, roles: &[PeerRole]) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|allowed| allowed.allows(roles)).map(AllowedPeer::name)
    }

    fn check(&self, certificate: &CertificateDer<'_>, roles: &'static [PeerRole]) -> Result<(), Error> {
        let refused = |error| CertificateError::Other(OtherError(Arc::new(error)));
        let authorized = self.authorize(&names_of(certificate)?, roles);
        authorized.map_err(|error| Error::InvalidCertificate(refused(error)))
    }
}

/// Returns the DNS names and URIs of a certificate.
pub(crate) fn names_of(certificate: &CertificateDer<'_>) -> Result<Arc<[String]>, Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    Ok(parsed.valid_dns_names().chain(parsed.valid_uri_names()).map(str::to_owned).collect())
}

impl PeerVerifier {
    pub(crate) fn new(
        provider: &Arc<CryptoProvider>,
        roots: Arc<RootCertStore>,
        allowed_names: AllowedNames,
    ) -> Result<Self, Error> {
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        let clients = clients.build().map_err(|error| Error::General(error.to_string()))?;
        Ok(Self { roots, algorithms: provider.signature_verification_algorithms, clients, allowed_names })
    }
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        if self.allowed_names.names(SERVERS).next().is_none() {
            verify_server_name(&parsed, server_name)?;
        } else {
            self.allowed_names.check(end_entity, SERVERS)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    check_signatures!(algorithms);
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.clients.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.clients.verify_client_cert(end_entity, intermediates, now)?;
        self.allowed_names.check(end_entity, CLIENTS)?;
        Ok(verified)
    }

    check_signatures!(algorithms);
}
