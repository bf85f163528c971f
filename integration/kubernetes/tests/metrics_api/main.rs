//! The metrics API of an aggregator beside the adapter that its Go library makes, on one control plane: both are asked the
//! same, and each difference is one that is meant.

mod https;
mod questions;
mod shape;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use signalbox_integration::{
    CertificateAuthority, Epp, Pod, PodConfig, Ports, Process, TestDir, eventually, start_collector,
    write_endpoints,
};
use signalbox_kubernetes_tests::{ControlPlane, reference_adapter, released_crds, sandboxed};

use self::https::Https;
use self::questions::{DESIRED, OBJECTS, QUESTIONS, QUEUE};
use self::shape::differences;

/// The pool as an object of the cluster: the reference looks for it there.
const POOL: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: llama3, namespace: default, labels: { app: llama3 } }
spec:
  selector: { matchLabels: { app: llama3 } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: epp, port: { number: 9002 } }
";

/// Both servers, and a client that may do everything. They are killed in the order of the fields.
struct Servers {
    https: Https,
    ours: SocketAddr,
    reference: SocketAddr,
    _processes: Vec<Process>,
    _epp: Epp,
    _pod: Pod,
    _control_plane: ControlPlane,
}

/// The PEM files of a server.
struct ServerFiles {
    folder: PathBuf,
    authority: PathBuf,
}

impl ServerFiles {
    fn create(dir: &TestDir) -> anyhow::Result<Self> {
        let authority = CertificateAuthority::new(dir, "metrics-authority")?;
        let (certificate, key) = authority.issue(dir, "localhost")?;
        let folder = dir.path().join("server");
        fs::create_dir(&folder)?;
        fs::copy(certificate, folder.join("tls.crt"))?;
        fs::copy(key, folder.join("tls.key"))?;
        Ok(Self { folder, authority: authority.file().to_owned() })
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }
}

impl Servers {
    async fn start(dir: &TestDir) -> anyhow::Result<Self> {
        let control_plane = ControlPlane::start(dir, [127, 0, 0, 1].into()).await?;
        let kubectl = control_plane.kubectl();
        let crds = released_crds()?.display().to_string();
        kubectl.run(&["apply", "--server-side", "--filename", &crds]).await?;
        eventually("the API server serves the CRDs", async || kubectl.apply(POOL).await).await?;
        let binding = ["--clusterrole=cluster-admin", "--serviceaccount=default:default"];
        kubectl.run(&[&["create", "clusterrolebinding", "tester"], &binding[..]].concat()).await?;
        let token = kubectl.run(&["create", "token", "default"]).await?;

        let files = ServerFiles::create(dir)?;
        let https = Https::new(&files.authority, token.trim())?;
        let kubeconfig = kubectl.kubeconfig().display().to_string();
        let pod = Pod::start(dir, "pod", PodConfig::default()).await?;
        let endpoints = write_endpoints(dir, [(pod.name(), pod.address())])?;
        let (aggregator, ours, address) = start_ours(dir, &files, &kubeconfig, &endpoints).await?;
        let collector = start_collector(dir, &address).await?;
        let epp = Epp::start(dir, "epp", &address, &[]).await?;
        let (adapter, reference) = start_reference(dir, &files, &kubeconfig)?;
        let servers = Self {
            https,
            ours,
            reference,
            _processes: vec![adapter, collector, aggregator],
            _epp: epp,
            _pod: pod,
            _control_plane: control_plane,
        };
        let path = format!("{OBJECTS}/llama3/{DESIRED}");
        for address in [ours, reference] {
            let has_value = async || {
                let answer = servers.https.send(address, "GET", &path, &[]).await?;
                ensure!(answer.code == 200, "{address}: {answer:?}");
                Ok(())
            };
            eventually("the metric has a value", has_value).await?;
        }
        Ok(servers)
    }
}

/// Starts an aggregator. Returns it with the addresses of its metrics API and for other processes.
async fn start_ours(
    dir: &TestDir,
    files: &ServerFiles,
    kubeconfig: &str,
    endpoints: &std::path::Path,
) -> anyhow::Result<(Process, SocketAddr, String)> {
    let endpoints = endpoints.display().to_string();
    let folder = files.folder.display().to_string();
    let flags =
        "--bind 127.0.0.1 --port 0 --metrics-port 0 --metrics-api-port 0 --external-metrics --output json";
    let mut flags: Vec<&str> = flags.split_whitespace().collect();
    flags.extend(["--endpoints", &endpoints, "--metrics-api-cert-path", &folder, "--kubeconfig", kubeconfig]);
    let (process, addresses) =
        Process::start_ready(dir, "signalbox-aggregator", "aggregator", &flags).await?;
    let address = |name: &str| addresses[name].as_str().with_context(|| format!("no {name} in {addresses}"));
    let (metrics_api, own) = (address("metrics_api")?.parse()?, address("aggregator")?.to_owned());
    Ok((process, metrics_api, own))
}

/// Starts the reference adapter. Returns it with its address.
fn start_reference(
    dir: &TestDir,
    files: &ServerFiles,
    kubeconfig: &str,
) -> anyhow::Result<(Process, SocketAddr)> {
    let address = Ports::new().take()?;
    let mut flags = vec![
        format!("--bind-address={}", address.ip()),
        format!("--secure-port={}", address.port()),
        format!("--tls-cert-file={}", files.path("tls.crt")),
        format!("--tls-private-key-file={}", files.path("tls.key")),
        format!("--metrics={DESIRED},{QUEUE}"),
    ];
    flags.extend(
        ["lister", "authentication", "authorization"].map(|of| format!("--{of}-kubeconfig={kubeconfig}")),
    );
    Ok((Process::start(dir, "reference-adapter", &reference_adapter()?, &flags)?, address))
}

#[test]
fn answers_are_those_of_the_reference_adapter() -> anyhow::Result<()> {
    sandboxed("answers_are_those_of_the_reference_adapter", async |dir| {
        let servers = Servers::start(dir).await?;
        let mut wrong = Vec::new();
        for question in QUESTIONS {
            let ask = async |address| {
                servers.https.send(address, question.method, &question.path(), question.headers).await
            };
            let (ours, reference) = (ask(servers.ours).await?, ask(servers.reference).await?);
            let found = differences(&ours, &reference);
            if found != question.differences {
                let named = format!("{} {} {:?}", question.method, question.path(), question.headers);
                wrong.push(format!(
                    "{named}\n  {}\nours: {ours:?}\nreference: {reference:?}",
                    found.join("\n  ")
                ));
            }
        }
        ensure!(wrong.is_empty(), "other differences than expected:\n{}", wrong.join("\n\n"));
        Ok(())
    })
}
