//! The flags by which gateways are served.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args};
use signalbox_tls::{CipherSuites, MinVersion, Offer, Serving};

/// How gateways are served.
#[derive(Args, Clone, Debug)]
pub struct ServingFlags {
    /// Serve gateways over TLS. Without --cert-path with a certificate of its own making: gateways do not verify it
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub secure_serving: bool,
    /// Folder with the certificate that gateways are shown, tls.crt, and its key, tls.key; read again when they change
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub cert_path: Option<PathBuf>,
    /// The lowest version of TLS for gateways: VersionTLS12 or VersionTLS13
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS12")]
    pub tls_min_version: MinVersion,
    /// Cipher suites of TLS 1.2 for gateways, separated by commas [default: all]
    #[arg(long, value_name = "NAMES")]
    pub tls_cipher_suites: Option<String>,
}

impl ServingFlags {
    /// What the flags say. Logs cipher suites that cannot be offered.
    ///
    /// # Errors
    /// When no named cipher suite is there, a file is of no use, or no certificate can be made.
    pub fn serving(&self) -> anyhow::Result<Serving> {
        if !self.secure_serving {
            return Ok(Serving::Plaintext);
        }
        let suites = self.tls_cipher_suites.as_deref().filter(|names| !names.is_empty());
        let suites = suites.map(str::parse::<CipherSuites>).transpose()?;
        if let Some(CipherSuites { unknown, .. }) = &suites
            && !unknown.is_empty()
        {
            tracing::warn!(?unknown, "cipher suites of --tls-cipher-suites that are not spoken here");
        }
        let offer = Offer { min_version: self.tls_min_version, suites };
        match self.cert_path.as_deref().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => Ok(Serving::of_folder(folder, offer)?),
            None => Ok(Serving::self_signed(&offer)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        flags: ServingFlags,
    }

    fn serving(flags: &[&str]) -> anyhow::Result<Serving> {
        Flags::try_parse_from(["test"].iter().chain(flags))?.flags.serving()
    }

    #[test]
    fn gateways_are_served_over_tls_unless_told_otherwise() {
        for flags in [&[][..], &["--secure-serving"], &["--secure-serving=true"], &["--cert-path="]] {
            assert!(matches!(serving(flags).unwrap(), Serving::Tls(_)), "{flags:?}");
        }
        assert!(matches!(serving(&["--secure-serving=false"]).unwrap(), Serving::Plaintext));
        assert!(matches!(serving(&["--secure-serving", "false"]).unwrap(), Serving::Plaintext));
    }

    #[test]
    fn what_cannot_be_offered_is_refused() {
        let refused = |flags: &[&str]| serving(flags).unwrap_err().to_string();
        assert!(refused(&["--tls-min-version=VersionTLS10"]).contains("VersionTLS12"));
        assert!(
            refused(&["--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"]).contains("TLS_AES_128_GCM_SHA256")
        );
        assert!(refused(&["--cert-path=/nowhere"]).contains("/nowhere/tls.crt"));
        let all = ["--tls-min-version=", "--tls-cipher-suites="];
        assert!(matches!(serving(&all).unwrap(), Serving::Tls(_)));
        let some = "--tls-cipher-suites=TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA";
        assert!(matches!(serving(&["--tls-min-version=VersionTLS13", some]).unwrap(), Serving::Tls(_)));
    }
}
