//! Command-line flags for the coordinator.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use signalbox_types::PeerAddress;
use thiserror::Error;

use crate::coordinator::Coordinator;
use crate::etcd::{EtcdSettings, Login, TlsFiles};

/// How to reach the coordinator.
#[derive(Args, Clone, Debug)]
pub struct CoordinatorFlags {
    /// Coordinator at which processes find each other and the owners of pools:
    /// etcd://HOST:PORT[,HOST:PORT...]
    #[arg(long, value_name = "URL")]
    pub coordinator: Option<String>,
    /// etcd user
    #[arg(long, value_name = "NAME", requires = "coordinator_password_file")]
    pub coordinator_user: Option<String>,
    /// File with the password of --coordinator-user
    #[arg(long, value_name = "FILE", requires = "coordinator_user")]
    pub coordinator_password_file: Option<PathBuf>,
    /// Certificate authorities (PEM) that must have signed etcd's certificate; enables TLS to etcd
    #[arg(long, value_name = "FILE")]
    pub coordinator_ca: Option<PathBuf>,
    /// Client certificate for etcd (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["coordinator_ca", "coordinator_key"])]
    pub coordinator_cert: Option<PathBuf>,
    /// Private key of --coordinator-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "coordinator_cert")]
    pub coordinator_key: Option<PathBuf>,
    /// How long the coordinator keeps this process registered after it dies; etcd rounds up to whole seconds,
    /// at least 2s
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    pub lease_ttl: Duration,
}

/// The URL of the coordinator is invalid.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "invalid --coordinator {url}: {reason}; write etcd://HOST:PORT, or several HOST:PORT separated by commas"
)]
pub struct CoordinatorUrlError {
    url: String,
    reason: String,
}

impl Coordinator {
    /// Returns the coordinator at `url`, `etcd://HOST:PORT[,HOST:PORT...]`, without TLS and login. It need
    /// not be available yet.
    ///
    /// # Errors
    /// [`CoordinatorUrlError`].
    pub fn from_url(url: &str) -> Result<Self, CoordinatorUrlError> {
        Ok(Self::etcd(EtcdSettings { endpoints: endpoints(url)?, login: None, tls: None }))
    }
}

fn endpoints(url: &str) -> Result<Vec<PeerAddress>, CoordinatorUrlError> {
    let invalid = |reason: String| CoordinatorUrlError { url: url.to_owned(), reason };
    let hosts = url.strip_prefix("etcd://").ok_or_else(|| invalid("only etcd:// is supported".to_owned()))?;
    let endpoints = hosts.trim_end_matches('/').split(',').map(str::parse::<PeerAddress>);
    endpoints.collect::<Result<_, _>>().map_err(invalid)
}

impl CoordinatorFlags {
    /// Returns the coordinator that the flags name, if any. It need not be available yet.
    ///
    /// # Errors
    /// [`CoordinatorUrlError`].
    pub fn connect(&self) -> Result<Option<Coordinator>, CoordinatorUrlError> {
        let Some(url) = &self.coordinator else { return Ok(None) };
        let endpoints = endpoints(url)?;
        let login = self.coordinator_user.clone().zip(self.coordinator_password_file.clone());
        let identity = self.coordinator_cert.clone().zip(self.coordinator_key.clone());
        let tls = self.coordinator_ca.clone().map(|ca| TlsFiles { ca, identity });
        let login = login.map(|(user, password_file)| Login { user, password_file });
        Ok(Some(Coordinator::etcd(EtcdSettings { endpoints, login, tls })))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        flags: CoordinatorFlags,
    }

    fn connect(flags: &[&str]) -> Result<Option<Coordinator>, String> {
        let parsed =
            Flags::try_parse_from(["test"].iter().chain(flags)).map_err(|error| error.to_string())?;
        parsed.flags.connect().map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn url_names_etcd_members_and_errors_say_how_to_write_it() {
        assert!(connect(&[]).unwrap().is_none());
        assert!(connect(&["--coordinator", "etcd://a:2379,[::1]:2379/"]).unwrap().is_some());
        for wrong in ["a:2379", "http://a:2379", "etcd://", "etcd://a", "etcd://a:2379,,b:2379"] {
            let refused = connect(&["--coordinator", wrong]).unwrap_err();
            assert!(refused.contains(wrong) && refused.contains("etcd://HOST:PORT"), "{refused}");
        }
        assert!(connect(&["--coordinator-user", "me"]).unwrap_err().contains("--coordinator-password-file"));
        assert!(connect(&["--coordinator-cert", "c"]).unwrap_err().contains("--coordinator-ca"));
    }
}
