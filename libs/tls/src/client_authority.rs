//! Verifies the certificates of clients after their handshake, by authorities that may change.

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificates that a client presented, its own first; empty if there are none. The client has shown that it has the
/// key of the first. Nothing else is known yet: see [`ClientAuthority::subject`].
#[derive(Clone, Debug, Default)]
pub struct PresentedChain(pub(crate) Vec<CertificateDer<'static>>);

/// Authorities that sign the certificates of clients.
#[derive(Clone, Debug, Default)]
pub struct ClientAuthority(Vec<TrustAnchor<'static>>);

/// Whom a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The common name; may be empty.
    pub common_name: String,
    /// The organizations.
    pub organizations: Vec<String>,
}

impl PresentedChain {
    /// Whether the client presented no certificate.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ClientAuthority {
    /// Reads certificates in PEM format. No text is no authority: it has signed nothing.
    ///
    /// # Errors
    /// A description of what is wrong with the text.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let anchors = CertificateDer::pem_slice_iter(pem.as_bytes()).map(|certificate| {
            let certificate = certificate.map_err(|error| error.to_string())?;
            let anchor =
                webpki::anchor_from_trusted_cert(&certificate).map_err(|error| format!("{error:?}"))?;
            Ok(anchor.to_owned())
        });
        anchors.collect::<Result<_, String>>().map(Self)
    }

    /// Returns whom the certificate of a client is for, if one of the authorities has signed it for clients and it is
    /// valid now.
    pub fn subject(&self, chain: &PresentedChain) -> Option<Subject> {
        let (own, intermediates) = chain.0.split_first()?;
        let algorithms = ring::default_provider().signature_verification_algorithms.all;
        let usage = KeyUsage::client_auth();
        let parsed = EndEntityCert::try_from(own).ok()?;
        parsed
            .verify_for_usage(algorithms, &self.0, intermediates, UnixTime::now(), usage, None, None)
            .ok()?;
        let (_, certificate) = X509Certificate::from_der(own).ok()?;
        let subject = certificate.subject();
        Some(Subject {
            common_name: subject
                .iter_common_name()
                .find_map(|name| name.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            organizations: subject
                .iter_organization()
                .filter_map(|name| Some(name.as_str().ok()?.to_owned()))
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        date_time_ymd,
    };

    use super::*;

    struct Authority {
        pem: String,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn params(usage: ExtendedKeyUsagePurpose) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "front-proxy");
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        params.extended_key_usages = vec![usage];
        params
    }

    fn chain(authority: &Authority, params: &CertificateParams) -> PresentedChain {
        let signed = params.signed_by(&KeyPair::generate().unwrap(), &authority.issuer).unwrap();
        PresentedChain(vec![signed.der().clone()])
    }

    #[test]
    fn subject_of_a_client_is_read() {
        let authority = authority();
        let found = ClientAuthority::from_pem(&authority.pem)
            .unwrap()
            .subject(&chain(&authority, &params(ExtendedKeyUsagePurpose::ClientAuth)));
        let expected = Subject {
            common_name: "front-proxy".to_owned(),
            organizations: vec!["system:masters".to_owned()],
        };
        assert_eq!(Some(expected), found);
    }

    #[test]
    fn certificates_that_prove_nothing_have_no_subject() {
        let (own, other) = (authority(), authority());
        let trusted = ClientAuthority::from_pem(&own.pem).unwrap();
        let client = params(ExtendedKeyUsagePurpose::ClientAuth);
        assert_eq!(None, trusted.subject(&PresentedChain::default()));
        assert_eq!(None, trusted.subject(&chain(&other, &client)));
        assert_eq!(None, trusted.subject(&chain(&own, &params(ExtendedKeyUsagePurpose::ServerAuth))));
        let mut expired = client.clone();
        expired.not_after = date_time_ymd(2001, 1, 1);
        assert_eq!(None, trusted.subject(&chain(&own, &expired)));
        assert_eq!(None, ClientAuthority::from_pem("").unwrap().subject(&chain(&own, &client)));
    }

    #[test]
    fn text_that_is_no_certificate_is_refused() {
        let wrong = "-----BEGIN CERTIFICATE-----\nbm8=\n-----END CERTIFICATE-----\n";
        assert!(ClientAuthority::from_pem(wrong).is_err());
    }
}
