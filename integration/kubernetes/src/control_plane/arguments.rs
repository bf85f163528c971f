//! The arguments of the processes of a control plane.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::control_plane::SERVICE_RANGE;
use crate::control_plane::certificates::{Certificates, FRONT_PROXY};

/// The controllers that tests need.
const CONTROLLERS: [&str; 16] = [
    "clusterrole-aggregation-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "horizontal-pod-autoscaler-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
];

/// The identity of the cluster in service account tokens.
const ISSUER: &str = "https://kubernetes.default.svc";

/// Where a control plane listens, and which files it uses.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) api_server: SocketAddr,
    /// etcd's addresses for clients and for peers.
    pub(crate) etcd: [SocketAddr; 2],
    /// etcd's data.
    pub(crate) data: PathBuf,
    /// The access of the controllers.
    pub(crate) kubeconfig: PathBuf,
    pub(crate) certificates: Certificates,
}

impl Arguments {
    /// Returns the arguments of etcd.
    pub(crate) fn etcd(&self) -> Vec<String> {
        let [clients, peers] = self.etcd.map(|address| format!("http://{address}"));
        vec![
            file("data-dir", &self.data),
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
            "--log-level=warn".to_owned(),
            // The data need not survive a crash of the machine.
            "--unsafe-no-fsync=true".to_owned(),
        ]
    }

    /// Returns the arguments of the API server.
    pub(crate) fn api_server(&self) -> Vec<String> {
        let Certificates {
            authority,
            server,
            account_key,
            account_public_key,
            front_proxy_authority,
            front_proxy,
            ..
        } = &self.certificates;
        // The Service `kubernetes` cannot have an endpoint on loopback, where no pod could reach it either.
        let reconciler = if self.api_server.ip().is_loopback() { "none" } else { "lease" };
        vec![
            format!("--endpoint-reconciler-type={reconciler}"),
            format!("--etcd-servers=http://{}", self.etcd[0]),
            format!("--bind-address={}", self.api_server.ip()),
            format!("--advertise-address={}", self.api_server.ip()),
            format!("--secure-port={}", self.api_server.port()),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            "--authorization-mode=RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            "--profiling=false".to_owned(),
            file("client-ca-file", authority),
            file("requestheader-client-ca-file", front_proxy_authority),
            format!("--requestheader-allowed-names={FRONT_PROXY}"),
            "--requestheader-username-headers=X-Remote-User".to_owned(),
            "--requestheader-group-headers=X-Remote-Group".to_owned(),
            "--requestheader-extra-headers-prefix=X-Remote-Extra-".to_owned(),
            file("proxy-client-cert-file", &front_proxy.certificate),
            file("proxy-client-key-file", &front_proxy.key),
            file("tls-cert-file", &server.certificate),
            file("tls-private-key-file", &server.key),
            format!("--service-account-issuer={ISSUER}"),
            file("service-account-signing-key-file", account_key),
            file("service-account-key-file", account_public_key),
        ]
    }

    /// Returns the arguments of the controllers.
    pub(crate) fn controllers(&self) -> Vec<String> {
        vec![
            format!("--controllers={}", CONTROLLERS.join(",")),
            file("kubeconfig", &self.kubeconfig),
            file("root-ca-file", &self.certificates.authority),
            file("service-account-private-key-file", &self.certificates.account_key),
            "--leader-elect=false".to_owned(),
            // Each controller has the rights of its service account only, as in most clusters.
            "--use-service-account-credentials=true".to_owned(),
            "--secure-port=0".to_owned(),
            "--profiling=false".to_owned(),
            // As often as a test could look.
            "--horizontal-pod-autoscaler-sync-period=1s".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
        ]
    }
}

fn file(flag: &str, path: &Path) -> String {
    format!("--{flag}={}", path.display())
}
