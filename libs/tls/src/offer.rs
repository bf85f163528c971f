//! What of TLS is offered to others: from which version on, and with which cipher suites.

use std::str::FromStr;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::{CipherSuite, SupportedCipherSuite, SupportedProtocolVersion};
use thiserror::Error;

use crate::files::VERSIONS;

/// The lowest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

/// Cipher suites of TLS 1.2, by their names in the IANA's list, separated by commas. Those of TLS 1.3 are always offered, as in Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CipherSuites {
    suites: Vec<CipherSuite>,
    /// Names of suites that cannot be offered.
    pub unknown: Vec<String>,
}

/// What of TLS is offered to others.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The lowest version.
    pub min_version: MinVersion,
    /// The cipher suites of TLS 1.2; `None`: all.
    pub suites: Option<CipherSuites>,
}

/// A value that stands for nothing that can be offered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError {
    /// No version.
    #[error("\"{0}\" is no version that is spoken here: VersionTLS12, VersionTLS13")]
    Version(String),
    /// None of the cipher suites is there.
    #[error("none of these is a cipher suite that is spoken here: {}", known().join(", "))]
    Suites,
}

impl FromStr for MinVersion {
    type Err = OfferError;

    fn from_str(name: &str) -> Result<Self, OfferError> {
        match name {
            "" | "VersionTLS12" => Ok(Self::Tls12),
            "VersionTLS13" => Ok(Self::Tls13),
            _ => Err(OfferError::Version(name.to_owned())),
        }
    }
}

impl FromStr for CipherSuites {
    type Err = OfferError;

    fn from_str(names: &str) -> Result<Self, OfferError> {
        let (mut suites, mut unknown) = (Vec::new(), Vec::new());
        for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match ring::ALL_CIPHER_SUITES.iter().find(|suite| self::name(suite) == full(name)) {
                Some(suite) => suites.push(suite.suite()),
                None => unknown.push(name.to_owned()),
            }
        }
        if suites.is_empty() {
            return Err(OfferError::Suites);
        }
        Ok(Self { suites, unknown })
    }
}

impl Offer {
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

fn known() -> Vec<String> {
    ring::ALL_CIPHER_SUITES.iter().map(name).collect()
}

/// By which it is known outside of rustls.
fn name(suite: &SupportedCipherSuite) -> String {
    format!("{:?}", suite.suite()).replace("TLS13_", "TLS_")
}

/// Go has two names for some.
fn full(name: &str) -> String {
    if name.ends_with("_CHACHA20_POLY1305") { format!("{name}_SHA256") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_names_that_they_have_in_go() {
        assert_eq!(Ok(MinVersion::Tls12), "VersionTLS12".parse());
        assert_eq!(Ok(MinVersion::Tls13), "VersionTLS13".parse());
        assert_eq!(Ok(MinVersion::default()), "".parse());
        assert!("VersionTLS11".parse::<MinVersion>().unwrap_err().to_string().contains("VersionTLS13"));
    }

    #[test]
    fn named_suites_are_offered_beside_those_of_the_latest_version() {
        let suites: CipherSuites =
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, TLS_RSA_WITH_AES_128_CBC_SHA".parse().unwrap();
        assert_eq!(vec!["TLS_RSA_WITH_AES_128_CBC_SHA".to_owned()], suites.unknown);
        let offer = Offer { suites: Some(suites), ..Offer::default() };
        let names: Vec<_> = offer.provider().cipher_suites.iter().map(name).collect();
        assert_eq!(4, names.len(), "{names:?}");
        assert!(names.contains(&"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256".to_owned()), "{names:?}");
        assert!(names.contains(&"TLS_AES_128_GCM_SHA256".to_owned()), "{names:?}");
        let none = "TLS_RSA_WITH_AES_128_CBC_SHA".parse::<CipherSuites>().unwrap_err().to_string();
        assert!(none.contains("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"), "{none}");
    }
}
