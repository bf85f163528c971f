//! Command-line flags for the coordinator in Kubernetes.

use std::path::PathBuf;

use clap::Args;
use signalbox_kube::{Cluster, ClusterSettings};

use super::{CoordinatorFlags, CoordinatorFlagsError, KUBERNETES_TTL};
use crate::coordinator::Coordinator;
use crate::kubernetes::{KubernetesSettings, is_label};

/// Default of `--installation`.
const DEFAULT_INSTALLATION: &str = "signalbox";

/// How to reach Kubernetes, and where in it the aggregators meet.
#[derive(Args, Clone, Debug, Default)]
pub struct KubernetesFlags {
    /// File that says how to reach the Kubernetes API server [default: the pod's service account, or
    /// $KUBECONFIG]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Namespace of the Leases of --coordinator kubernetes [default: $POD_NAMESPACE, or that of the service
    /// account or kubeconfig]
    #[arg(long, value_name = "NAMESPACE", value_parser = dns_label)]
    pub namespace: Option<String>,
    /// Name of this installation in --coordinator kubernetes: aggregators with the same one share their pools
    /// [default: signalbox]
    #[arg(long, value_name = "NAME", value_parser = dns_label)]
    pub installation: Option<String>,
}

impl KubernetesFlags {
    /// Returns how to connect to the cluster.
    pub fn cluster_settings(&self) -> ClusterSettings {
        ClusterSettings { kubeconfig: self.kubeconfig.clone() }
    }

    fn leases_namespace(&self, cluster: &Cluster) -> String {
        let pod_namespace = || std::env::var("POD_NAMESPACE").ok().filter(|namespace| !namespace.is_empty());
        let given = self.namespace.clone().or_else(pod_namespace);
        given.unwrap_or_else(|| cluster.default_namespace().to_owned())
    }
}

impl CoordinatorFlags {
    /// Returns the coordinator for an aggregator, if the flags name one: with `--coordinator kubernetes` in
    /// `cluster`, which must be given then, otherwise as [`CoordinatorFlags::connect`]. It need not be available
    /// yet.
    ///
    /// # Errors
    /// [`CoordinatorFlagsError`].
    pub fn connect_aggregator(
        &self,
        flags: &KubernetesFlags,
        cluster: Option<&Cluster>,
    ) -> Result<Option<Coordinator>, CoordinatorFlagsError> {
        let Some(cluster) = cluster.filter(|_| self.is_kubernetes()) else {
            flags.check_unused()?;
            return self.connect();
        };
        self.check_kubernetes()?;
        let installation = flags.installation.clone().unwrap_or_else(|| DEFAULT_INSTALLATION.to_owned());
        Ok(Some(Coordinator::kubernetes(KubernetesSettings {
            cluster: cluster.clone(),
            namespace: flags.leases_namespace(cluster),
            installation,
        })))
    }

    fn check_kubernetes(&self) -> Result<(), CoordinatorFlagsError> {
        let etcd_only = [
            ("--coordinator-user", self.coordinator_user.is_some()),
            ("--coordinator-ca", self.coordinator_ca.is_some()),
        ];
        if let Some((flag, _)) = etcd_only.into_iter().find(|(_, is_given)| *is_given) {
            return Err(CoordinatorFlagsError::EtcdOnly(flag));
        }
        match self.lease_ttl {
            Some(ttl) if ttl < KUBERNETES_TTL => Err(CoordinatorFlagsError::ShortTtl(ttl)),
            _ => Ok(()),
        }
    }
}

impl KubernetesFlags {
    /// Checks that no flag is given that only `--coordinator kubernetes` reads.
    fn check_unused(&self) -> Result<(), CoordinatorFlagsError> {
        let flags =
            [("--namespace", self.namespace.is_some()), ("--installation", self.installation.is_some())];
        match flags.into_iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) => Err(CoordinatorFlagsError::KubernetesOnly(flag)),
            None => Ok(()),
        }
    }
}

fn dns_label(text: &str) -> Result<String, String> {
    match is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("give at most 63 lower-case letters and digits, with dashes only inside".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        coordinator: CoordinatorFlags,
        #[command(flatten)]
        kubernetes: KubernetesFlags,
    }

    const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: team}}]
current-context: x
";

    async fn connect(flags: &[&str]) -> Result<Option<Coordinator>, String> {
        let dir = tempfile::tempdir().unwrap();
        let kubeconfig = dir.path().join("kubeconfig");
        std::fs::write(&kubeconfig, KUBECONFIG).unwrap();
        let parsed =
            Flags::try_parse_from(["test"].iter().chain(flags)).map_err(|error| error.to_string())?;
        let cluster = Cluster::connect(&ClusterSettings { kubeconfig: Some(kubeconfig) }).await.unwrap();
        let connected = parsed.coordinator.connect_aggregator(&parsed.kubernetes, Some(&cluster));
        connected.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn wrong_combinations_are_refused() {
        let kubernetes = ["--coordinator", "kubernetes"];
        assert!(connect(&kubernetes).await.unwrap().is_some());
        assert!(connect(&[]).await.unwrap().is_none());
        assert!(connect(&["--coordinator", "etcd://a:1"]).await.unwrap().is_some());
        for (flags, text) in [
            (["--coordinator-ca", "f"], "--coordinator-ca is for etcd"),
            (["--lease-ttl", "5s"], "at least 6s"),
            (["--installation", "Me"], "lower-case"),
            (["--namespace", "a.b"], "lower-case"),
        ] {
            let refused = connect(&[&kubernetes[..], &flags[..]].concat()).await.unwrap_err();
            assert!(refused.contains(text), "{refused}");
        }
        for flag in ["--namespace", "--installation"] {
            for coordinator in [&[][..], &["--coordinator", "etcd://a:1"]] {
                let refused = connect(&[coordinator, &[flag, "n"]].concat()).await.unwrap_err();
                assert!(refused.contains(&format!("{flag} needs --coordinator kubernetes")), "{refused}");
            }
        }
    }
}
