//! The flags by which a process is told how to speak with others.

use std::path::PathBuf;

use clap::Args;

use crate::files::{FileError, Files};
use crate::identity::Identity;
use crate::peers::Names;

/// How a process speaks with the pool's other processes.
#[derive(Args, Clone, Debug, Default)]
pub struct TlsFlags {
    /// Speak TLS with the pool's other processes, whose certificates must be signed by one in this file; read again when it changes
    #[arg(long, value_name = "FILE", requires_all = ["tls_cert", "tls_key"])]
    pub tls_ca: Option<PathBuf>,
    /// This process's certificate, and those between it and the authority's; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_cert: Option<PathBuf>,
    /// The key of that certificate; read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_ca")]
    pub tls_key: Option<PathBuf>,
    /// A name, DNS or URI, that another process's certificate may have; repeated. Without one, who is connected to must have the name that it is
    /// connected by, and who connects may have any
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    pub tls_peer: Vec<String>,
    /// Speak without TLS with processes on other machines too
    #[arg(long, conflicts_with = "tls_ca")]
    pub plaintext: bool,
}

impl TlsFlags {
    pub(crate) fn identity(&self) -> Result<Option<Identity>, FileError> {
        let (Some(ca), Some(cert), Some(key)) = (&self.tls_ca, &self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let names = Names::of(&self.tls_peer);
        Identity::load(Files { ca: ca.clone(), cert: cert.clone(), key: key.clone(), names }).map(Some)
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
    fn files_are_given_together_and_not_with_plaintext() {
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
        assert!(refused(&[&all[..], &["--plaintext"]].concat()).unwrap().contains("--plaintext"));
    }
}
