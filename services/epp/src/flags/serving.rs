//! Flags for connections from gateways.

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args};
use signalbox_tls::{CipherSuites, MinVersion, ServerTls, TlsParameters};

/// Flags for connections from gateways.
#[derive(Args, Clone, Debug)]
pub struct ServingFlags {
    /// Serve gateways over TLS; with a self-signed certificate unless --cert-path is set, as gateways do not
    /// verify it
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
        default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub secure_serving: bool,
    /// Directory with the serving certificate, tls.crt, and its key, tls.key; reloaded when they change
    #[arg(long, value_name = "DIR", value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub cert_path: Option<PathBuf>,
    /// Minimum TLS version for gateways: VersionTLS12 or VersionTLS13
    #[arg(long, value_name = "VERSION", default_value = "VersionTLS12")]
    pub tls_min_version: MinVersion,
    /// TLS 1.2 cipher suites for gateways, separated by commas [default: all]
    #[arg(long, value_name = "NAMES")]
    pub tls_cipher_suites: Option<String>,
}

impl ServingFlags {
    /// Returns the configuration of the listener for gateways. Logs unsupported cipher suites.
    ///
    /// # Errors
    /// No named cipher suite is supported, a certificate file is unusable, or no certificate can be
    /// generated.
    pub fn serving(&self) -> anyhow::Result<ServerTls> {
        if !self.secure_serving {
            return Ok(ServerTls::Plaintext);
        }
        let suites = self.tls_cipher_suites.as_deref().filter(|names| !names.is_empty());
        let suites = suites.map(str::parse::<CipherSuites>).transpose()?;
        if let Some(CipherSuites { unsupported, .. }) = &suites
            && !unsupported.is_empty()
        {
            tracing::warn!(?unsupported, "ignoring unsupported cipher suites in --tls-cipher-suites");
        }
        let parameters = TlsParameters { min_version: self.tls_min_version, suites };
        match self.cert_path.as_deref().filter(|folder| !folder.as_os_str().is_empty()) {
            Some(folder) => Ok(ServerTls::from_directory(folder, parameters)?),
            None => Ok(ServerTls::self_signed(&parameters)?),
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

    fn serving(flags: &[&str]) -> anyhow::Result<ServerTls> {
        Flags::try_parse_from(["test"].iter().chain(flags))?.flags.serving()
    }

    #[test]
    fn gateways_are_served_over_tls_by_default() {
        for flags in [&[][..], &["--secure-serving"], &["--secure-serving=true"], &["--cert-path="]] {
            assert!(matches!(serving(flags).unwrap(), ServerTls::Tls(_)), "{flags:?}");
        }
        assert!(matches!(serving(&["--secure-serving=false"]).unwrap(), ServerTls::Plaintext));
        assert!(matches!(serving(&["--secure-serving", "false"]).unwrap(), ServerTls::Plaintext));
    }

    #[test]
    fn unsupported_settings_are_rejected() {
        let error = |flags: &[&str]| serving(flags).unwrap_err().to_string();
        assert!(error(&["--tls-min-version=VersionTLS10"]).contains("VersionTLS12"));
        assert!(error(&["--tls-cipher-suites=TLS_RSA_WITH_RC4_128_SHA"]).contains("TLS_AES_128_GCM_SHA256"));
        assert!(error(&["--cert-path=/nowhere"]).contains("/nowhere/tls.crt"));
        let all = ["--tls-min-version=", "--tls-cipher-suites="];
        assert!(matches!(serving(&all).unwrap(), ServerTls::Tls(_)));
        let some = "--tls-cipher-suites=TLS_AES_128_GCM_SHA256,TLS_RSA_WITH_RC4_128_SHA";
        assert!(matches!(serving(&["--tls-min-version=VersionTLS13", some]).unwrap(), ServerTls::Tls(_)));
    }
}
