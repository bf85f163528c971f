//! TLS versions and cipher suites.

use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};
use thiserror::Error;

/// The application protocols inside TLS.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Supported versions, the latest first.
pub(crate) static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Minimum TLS version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// TLS 1.2 cipher suites, parsed from their IANA names separated by commas. TLS 1.3 suites are always
/// offered, as in Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CipherSuites {
    suites: Vec<CipherSuite>,
    /// Names of suites that are not supported.
    pub unsupported: Vec<String>,
}

/// TLS versions and cipher suites that a server offers.
#[derive(Clone, Debug, Default)]
pub struct TlsParameters {
    /// Minimum version.
    pub min_version: MinVersion,
    /// TLS 1.2 cipher suites; `None` means all.
    pub suites: Option<CipherSuites>,
}

/// A TLS parameter is not supported.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TlsParameterError {
    /// The version is not supported.
    #[error("TLS version \"{0}\" is not supported; use VersionTLS12 or VersionTLS13")]
    Version(String),
    /// None of the cipher suites is supported.
    #[error("none of these cipher suites is supported; use one or more of {}", supported_suites().join(", "))]
    Suites,
}

impl FromStr for MinVersion {
    type Err = TlsParameterError;

    fn from_str(name: &str) -> Result<Self, TlsParameterError> {
        match name {
            "" | "VersionTLS12" => Ok(Self::Tls12),
            "VersionTLS13" => Ok(Self::Tls13),
            _ => Err(TlsParameterError::Version(name.to_owned())),
        }
    }
}

impl FromStr for CipherSuites {
    type Err = TlsParameterError;

    fn from_str(names: &str) -> Result<Self, TlsParameterError> {
        let (mut suites, mut unsupported) = (Vec::new(), Vec::new());
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match ring::ALL_CIPHER_SUITES.iter().find(|suite| suite_name(suite) == full_name(name)) {
                Some(suite) => suites.push(suite.suite()),
                None => unsupported.push(name.to_owned()),
            }
        }
        if suites.is_empty() {
            return Err(TlsParameterError::Suites);
        }
        Ok(Self { suites, unsupported })
    }
}

impl TlsParameters {
    pub(crate) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        match self.min_version {
            MinVersion::Tls12 => &VERSIONS,
            MinVersion::Tls13 => &VERSIONS[..1],
        }
    }

    pub(crate) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = ring::default_provider();
        if let Some(CipherSuites { suites, .. }) = &self.suites {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some() || suites.contains(&suite.suite()));
        }
        Arc::new(provider)
    }
}

fn supported_suites() -> Vec<String> {
    ring::ALL_CIPHER_SUITES.iter().map(suite_name).collect()
}

/// Returns the IANA name, which for TLS 1.3 differs from rustls's.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// Returns the IANA name of a suite that Go also knows by a shorter name.
fn full_name(name: &str) -> String {
    if name.ends_with("_CHACHA20_POLY1305") { format!("{name}_SHA256") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_go_names() {
        assert_eq!(Ok(MinVersion::Tls12), "VersionTLS12".parse());
        assert_eq!(Ok(MinVersion::Tls13), "VersionTLS13".parse());
        assert_eq!(Ok(MinVersion::default()), "".parse());
        assert!("VersionTLS11".parse::<MinVersion>().unwrap_err().to_string().contains("VersionTLS13"));
    }

    #[test]
    fn chosen_suites_are_offered_together_with_those_of_tls_1_3() {
        let suites: CipherSuites =
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, TLS_RSA_WITH_AES_128_CBC_SHA".parse().unwrap();
        assert_eq!(vec!["TLS_RSA_WITH_AES_128_CBC_SHA".to_owned()], suites.unsupported);
        let parameters = TlsParameters { suites: Some(suites), ..TlsParameters::default() };
        let names: Vec<_> = parameters.provider().cipher_suites.iter().map(suite_name).collect();
        assert_eq!(4, names.len(), "{names:?}");
        assert!(names.contains(&"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned()), "{names:?}");
        assert!(names.contains(&"TLS_AES_128_GCM_SHA256".to_owned()), "{names:?}");
        let none = "TLS_RSA_WITH_AES_128_CBC_SHA".parse::<CipherSuites>().unwrap_err().to_string();
        assert!(none.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{none}");
    }
}
