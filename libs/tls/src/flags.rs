//! Command-line flags for TLS between Signalbox's processes.

use std::path::PathBuf;

use clap::Args;

use crate::allowed_peer::AllowedPeer;
use crate::identity::{AllowedNames, Identity, IdentityFiles};
use crate::pem::FileError;

/// How a process secures its connections to the pool's other processes.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsFlags {
    /// Certificate authorities (PEM) that must have signed the certificates of the pool's other processes;
    /// enables mutual TLS; reloaded when it changes
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
    /// This process's certificate and its intermediates (PEM); reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM); reloaded when it changes
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_key: Option<PathBuf>,
    /// DNS name or URI that another process's certificate may have, in every role or, after aggregator=,
    /// collector=, epp= or autoscaler=, in this one; may be repeated [default: a server must have the name that is connected
    /// to, a client may have any name]
    #[arg(long, value_name = "[ROLE=]NAME", requires = "tls_ca")]
    pub tls_peer: Vec<AllowedPeer>,
    /// Communicate without TLS across machines, on a network that is itself trusted
    #[arg(long, conflicts_with = "tls_ca")]
    pub plaintext: bool,
}

impl TlsFlags {
    pub(crate) fn identity(&self) -> Result<Option<Identity>, FileError> {
        let (Some(ca), Some(cert), Some(key)) = (&self.tls_ca, &self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let allowed_names = AllowedNames::new(&self.tls_peer);
        Identity::load(IdentityFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone(), allowed_names })
            .map(Some)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        flags: TlsFlags,
    }

    #[test]
    fn tls_files_must_be_given_together_and_without_plaintext() {
        let refused = |flags: &[&str]| {
            let error = Flags::try_parse_from(["test"].iter().chain(flags)).err();
            error.map(|error| error.to_string())
        };
        let all = ["--tls-ca", "a", "--tls-cert", "c", "--tls-key", "k"];
        assert_eq!(None, refused(&[]));
        assert_eq!(None, refused(&["--plaintext"]));
        assert_eq!(None, refused(&all));
        assert!(refused(&all[..4]).unwrap().contains("--tls-key"));
        assert!(refused(&all[2..]).unwrap().contains("--tls-ca"));
        assert!(refused(&["--tls-peer", "p"]).unwrap().contains("--tls-ca"));
        assert!(refused(&[&all[..], &["--tls-peer", "picker=p"]].concat()).unwrap().contains("not a role"));
        assert_eq!(None, refused(&[&all[..], &["--tls-peer", "epp=p", "--tls-peer", "q"]].concat()));
        assert!(refused(&[&all[..], &["--plaintext"]].concat()).unwrap().contains("--plaintext"));
    }
}
