//! What the certificates of clients prove.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use signalbox_kube::AuthenticationConfig;
use signalbox_metrics_api::{Certificate, RequestHeaderNames};
use signalbox_tls::{ClientAuthority, PresentedChain};

/// For how long what a certificate proves holds for its connection: it may expire.
const VALIDITY: Duration = Duration::from_secs(60);

/// Who signs the certificates of clients, and how a front proxy names a user.
#[derive(Debug)]
pub(super) struct Authorities {
    front_proxies: ClientAuthority,
    clients: ClientAuthority,
    pub(super) names: RequestHeaderNames,
}

/// What the certificate of one connection proves, as last checked.
#[derive(Clone, Debug, Default)]
pub(super) struct CheckedCertificate(Arc<ArcSwapOption<Checked>>);

#[derive(Debug)]
struct Checked {
    by: Arc<Authorities>,
    at: Instant,
    certificate: Certificate,
}

impl Authorities {
    pub(super) fn read(config: &AuthenticationConfig) -> Result<Self, String> {
        let authority =
            |key: &str, pem: &str| ClientAuthority::from_pem(pem).map_err(|error| format!("{key}: {error}"));
        Ok(Self {
            front_proxies: authority("requestheader-client-ca-file", &config.front_proxy_ca)?,
            clients: authority("client-ca-file", &config.client_ca)?,
            names: config.names.clone(),
        })
    }

    fn check(&self, chain: &PresentedChain) -> Certificate {
        if chain.is_empty() {
            return Certificate::None;
        }
        if let Some(subject) = self.front_proxies.subject(chain) {
            // Another certificate of the same authority may be that of a client.
            let is_allowed =
                self.names.allowed.is_empty() || self.names.allowed.contains(&subject.common_name);
            if is_allowed {
                return Certificate::FrontProxy { common_name: subject.common_name };
            }
        }
        match self.clients.subject(chain) {
            Some(subject) => {
                Certificate::Client { common_name: subject.common_name, organizations: subject.organizations }
            }
            None => Certificate::Unknown,
        }
    }
}

impl CheckedCertificate {
    /// Returns what `chain`, that of the connection, proves.
    pub(super) fn check(&self, authorities: &Arc<Authorities>, chain: &PresentedChain) -> Certificate {
        if let Some(checked) = self.0.load().as_deref()
            && Arc::ptr_eq(&checked.by, authorities)
            && checked.at.elapsed() < VALIDITY
        {
            return checked.certificate.clone();
        }
        let certificate = authorities.check(chain);
        let (by, at) = (Arc::clone(authorities), Instant::now());
        self.0.store(Some(Arc::new(Checked { by, at, certificate: certificate.clone() })));
        certificate
    }
}
