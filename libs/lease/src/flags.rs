//! The flags by which a process is told of its coordinator.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use signalbox_types::PeerAddress;
use thiserror::Error;

use crate::{Coordinator, EtcdSettings, Login, TlsFiles};

/// Where the coordinator is.
#[derive(Args, Clone, Debug)]
pub struct CoordinatorFlags {
    /// Where processes find each other and pools their owners: etcd://HOST:PORT[,HOST:PORT...]
    #[arg(long, value_name = "URL")]
    pub coordinator: Option<String>,
    /// A user of etcd
    #[arg(long, value_name = "NAME", requires = "coordinator_password_file")]
    pub coordinator_user: Option<String>,
    /// The file with that user's password
    #[arg(long, value_name = "FILE", requires = "coordinator_user")]
    pub coordinator_password_file: Option<PathBuf>,
    /// Speak TLS with etcd, whose certificate must be signed by one in this file
    #[arg(long, value_name = "FILE")]
    pub coordinator_ca: Option<PathBuf>,
    /// This process's certificate for etcd
    #[arg(long, value_name = "FILE", requires_all = ["coordinator_ca", "coordinator_key"])]
    pub coordinator_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "FILE", requires = "coordinator_cert")]
    pub coordinator_key: Option<PathBuf>,
    /// After so long without a sign of life the coordinator takes this process for dead; etcd: whole seconds, 2s at least
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub lease_ttl: Duration,
}

/// A coordinator that is not one.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("--coordinator {given}: {why}; write etcd://HOST:PORT, or several HOST:PORT separated by commas")]
pub struct FlagError {
    given: String,
    why: String,
}

impl Coordinator {
    /// The coordinator at `url`, `etcd://HOST:PORT[,HOST:PORT...]`, without TLS and login. It need not be there yet.
    ///
    /// # Errors
    /// [`FlagError`].
    pub fn at(url: &str) -> Result<Self, FlagError> {
        Ok(Self::etcd(EtcdSettings { endpoints: endpoints(url)?, login: None, tls: None }))
    }
}

fn endpoints(url: &str) -> Result<Vec<PeerAddress>, FlagError> {
    let wrong = |why: String| FlagError { given: url.to_owned(), why };
    let hosts = url.strip_prefix("etcd://").ok_or_else(|| wrong("only etcd is known".to_owned()))?;
    let endpoints = hosts.trim_end_matches('/').split(',').map(str::parse::<PeerAddress>);
    endpoints.collect::<Result<_, _>>().map_err(wrong)
}

impl CoordinatorFlags {
    /// The coordinator that the flags name, if they name one. It need not be there yet.
    ///
    /// # Errors
    /// [`FlagError`].
    pub fn connect(&self) -> Result<Option<Coordinator>, FlagError> {
        let Some(given) = &self.coordinator else { return Ok(None) };
        let endpoints = endpoints(given)?;
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
    async fn a_url_names_one_or_more_members_of_etcd_and_anything_else_is_refused_with_the_mend() {
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
