//! Why a metrics page cannot be read over TLS, and how to fix it.

use std::io;
use std::path::PathBuf;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use thiserror::Error;

/// How to do without verification.
const SKIP: &str = "accept any certificate with the pod's annotation signalbox.dev/metrics-insecure-skip-verify: \"true\" (in an endpoints file: metricsInsecureSkipVerify: true)";

/// Why a TLS connection to a metrics page could not be opened.
#[derive(Debug, Error)]
pub enum PageTlsError {
    /// The host of the URL is neither a host name nor an IP address.
    #[error("\"{0}\" is not a host name or IP address that a certificate can have")]
    Host(String),
    /// The platform has no certificate authorities, with the reason.
    #[error(
        "no certificate authority of this platform can be used ({0}); name a file with authorities by --metrics-ca"
    )]
    NoAuthorities(String),
    /// The connection broke during the handshake.
    #[error("the connection broke during the TLS handshake: {0}")]
    Broken(io::Error),
    /// The server does not speak TLS.
    #[error("the server does not speak TLS; is the page at http:// instead of https://?")]
    NotTls,
    /// The certificate is not accepted. The text says why and how to fix it.
    #[error("{0}")]
    Certificate(String),
    /// The server wants a certificate of this process.
    #[error(
        "the server asks for a client certificate that it accepts; give the collector one by --metrics-cert and --metrics-key"
    )]
    NoClientCertificate,
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[from] Error),
}

impl PageTlsError {
    /// Returns whether the server may answer the next time as if nothing had happened.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Broken(_))
    }

    /// Returns the error if a connection broke after the handshake because the server wants a certificate of this
    /// process: with TLS 1.3, servers say so only then.
    pub fn from_broken_connection(error: &(dyn std::error::Error + 'static)) -> Option<Self> {
        let error: &io::Error = crate::client::root_cause(error).downcast_ref()?;
        match error.get_ref()?.downcast_ref()? {
            Error::AlertReceived(alert) if wants_client_certificate(*alert) => {
                Some(Self::NoClientCertificate)
            }
            _ => None,
        }
    }

    /// Describes why a handshake with `host` failed. `authorities` is the file with the trusted authorities, if they
    /// are not the platform's.
    pub(super) fn from_handshake(error: io::Error, host: &str, authorities: Option<&PathBuf>) -> Self {
        let reason = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match reason {
            None => Self::Broken(error),
            Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => Self::NotTls,
            Some(Error::InvalidCertificate(reason)) => {
                Self::Certificate(certificate_problem(reason, host, authorities))
            }
            Some(Error::AlertReceived(alert)) if wants_client_certificate(*alert) => {
                Self::NoClientCertificate
            }
            Some(other) => Self::Handshake(other.clone()),
        }
    }
}

/// Describes why a certificate is not accepted, and how to fix it.
fn certificate_problem(reason: &CertificateError, host: &str, authorities: Option<&PathBuf>) -> String {
    match (reason, authorities) {
        // The signature is bad if another authority of the same name issued the certificate.
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, None) => format!(
            "an authority that this platform does not know issued the server's certificate; name a file with the authority's certificate by --metrics-ca, or {SKIP}"
        ),
        (CertificateError::UnknownIssuer | CertificateError::BadSignature, Some(path)) => format!(
            "no authority in --metrics-ca {} issued the server's certificate; add the right one, or {SKIP}",
            path.display()
        ),
        (CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }, _) => {
            format!("the server's certificate is not valid for {host}; add this name to it, or {SKIP}")
        }
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, _) => {
            format!("the server's {reason}; renew it")
        }
        (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, _) => {
            format!("the server's {reason}; check the clocks")
        }
        (CertificateError::Other(other), _) if is_authority(&*other.0) => format!(
            "the server presents the certificate of an authority (CA:TRUE) as its own; issue it one with CA:FALSE, or {SKIP}"
        ),
        _ => format!("the server's certificate cannot be accepted ({reason}); replace it, or {SKIP}"),
    }
}

/// Returns whether a server that sends `alert` lacks, or does not accept, a certificate of this process.
fn wants_client_certificate(alert: AlertDescription) -> bool {
    use AlertDescription::{BadCertificate, CertificateRequired, UnknownCA};
    [CertificateRequired, BadCertificate, UnknownCA].contains(&alert)
}

fn is_authority(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(error.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}
