//! Command-line flags for the coordinator.

mod etcd_url;
#[cfg(feature = "kubernetes")]
mod kubernetes;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use thiserror::Error;

use crate::coordinator::Coordinator;
use crate::etcd::{EtcdSettings, Login, TlsFiles};

pub use etcd_url::CoordinatorUrlError;
#[cfg(feature = "kubernetes")]
pub use kubernetes::KubernetesFlags;

/// The value of `--coordinator` that chooses Kubernetes.
const KUBERNETES: &str = "kubernetes";

/// Default of `--lease-ttl`.
const ETCD_TTL: Duration = Duration::from_secs(2);

/// Default of `--lease-ttl` with Kubernetes, and the least: members renew three times as often, and not more
/// than once in 2 s.
const KUBERNETES_TTL: Duration = Duration::from_secs(6);

/// How to reach the coordinator.
#[derive(Args, Clone, Debug)]
pub struct CoordinatorFlags {
    /// Coordinator at which processes find each other and the owners of pools:
    /// etcd://HOST:PORT[,HOST:PORT...], or kubernetes (aggregators only)
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
    /// at least 2s; with kubernetes at least 6s [default: 2s, with kubernetes 6s]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub lease_ttl: Option<Duration>,
}

/// The coordinator flags cannot be used together.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CoordinatorFlagsError {
    /// The URL is invalid.
    #[error(transparent)]
    Url(#[from] CoordinatorUrlError),
    /// A process that is no aggregator would use Kubernetes.
    #[error(
        "--coordinator kubernetes is for aggregators; this process learns of them from any of them: give \
         --aggregator HOST:PORT instead of --coordinator"
    )]
    AggregatorsOnly,
    /// A flag for etcd is given with Kubernetes.
    #[error("{0} is for etcd; leave it out with --coordinator kubernetes")]
    EtcdOnly(&'static str),
    /// A flag for Kubernetes is given without it.
    #[error("{0} needs --coordinator kubernetes")]
    KubernetesOnly(&'static str),
    /// The time to live would need too many renewals.
    #[error("--lease-ttl {0:?} is too short for --coordinator kubernetes; give at least 6s")]
    ShortTtl(Duration),
}

impl CoordinatorFlags {
    /// Returns the coordinator that the flags name, if any. It need not be available yet.
    ///
    /// # Errors
    /// [`CoordinatorFlagsError`], also for Kubernetes.
    pub fn connect(&self) -> Result<Option<Coordinator>, CoordinatorFlagsError> {
        let Some(url) = &self.coordinator else { return Ok(None) };
        if self.is_kubernetes() {
            return Err(CoordinatorFlagsError::AggregatorsOnly);
        }
        let endpoints = etcd_url::endpoints(url)?;
        let login = self.coordinator_user.clone().zip(self.coordinator_password_file.clone());
        let identity = self.coordinator_cert.clone().zip(self.coordinator_key.clone());
        let tls = self.coordinator_ca.clone().map(|ca| TlsFiles { ca, identity });
        let login = login.map(|(user, password_file)| Login { user, password_file });
        Ok(Some(Coordinator::etcd(EtcdSettings { endpoints, login, tls })))
    }

    /// Returns whether the flags name Kubernetes.
    pub fn is_kubernetes(&self) -> bool {
        self.coordinator.as_deref() == Some(KUBERNETES)
    }

    /// Returns how long the coordinator keeps a process registered after it dies.
    pub fn lease_ttl(&self) -> Duration {
        let default = if self.is_kubernetes() { KUBERNETES_TTL } else { ETCD_TTL };
        self.lease_ttl.unwrap_or(default)
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

    #[test]
    fn kubernetes_is_refused_where_it_is_not_for() {
        let refused = connect(&["--coordinator", "kubernetes"]).unwrap_err();
        assert!(refused.contains("--aggregator HOST:PORT"), "{refused}");
    }

    #[test]
    fn default_ttl_depends_on_the_coordinator() {
        let ttl = |flags: &[&str]| {
            Flags::try_parse_from(["test"].iter().chain(flags)).unwrap().flags.lease_ttl().as_secs()
        };
        assert_eq!((2, 6), (ttl(&[]), ttl(&["--coordinator", "kubernetes"])));
        assert_eq!(9, ttl(&["--lease-ttl", "9s", "--coordinator", "kubernetes"]));
    }
}
