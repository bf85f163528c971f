//! Runs etcd, the API server and the controllers: a real control plane, with RBAC and service accounts.

mod arguments;
mod certificates;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::json;
use signalbox_integration::{Client, Ports, Process, Signal, TestDir, eventually};

use crate::kubectl::Kubectl;
use crate::tools::tool;

use arguments::Arguments;
use certificates::Certificates;

/// The addresses of Services. The API server's own Service has the first.
pub(crate) const SERVICE_RANGE: &str = "10.96.0.0/16";

/// The address of the Service `kubernetes`.
pub(crate) const KUBERNETES_SERVICE: [u8; 4] = [10, 96, 0, 1];

/// A control plane. Its processes are killed when it is dropped.
#[derive(Debug)]
pub struct ControlPlane {
    binary: PathBuf,
    folder: PathBuf,
    kubectl: Kubectl,
    client: Client,
    arguments: Arguments,
    starts: u32,
    controllers: Option<Process>,
    api_server: Option<Process>,
    etcd: Option<Process>,
}

/// All objects at one moment.
#[derive(Debug)]
pub struct Checkpoint(PathBuf);

impl ControlPlane {
    /// Starts a control plane whose API server listens on `address`, and waits until pods can be created.
    ///
    /// # Errors
    /// Fails when it was not built, or does not become ready.
    pub async fn start(dir: &TestDir, address: IpAddr) -> anyhow::Result<Self> {
        let folder = dir.path().join("control-plane");
        std::fs::create_dir_all(&folder)?;
        let certificates = Certificates::create(&folder, address, IpAddr::from(KUBERNETES_SERVICE))?;
        let mut ports = Ports::new();
        let api_server = SocketAddr::new(address, ports.take()?.port());
        let kubeconfig = folder.join("admin.kubeconfig");
        std::fs::write(&kubeconfig, certificates.kubeconfig(api_server).to_string())?;
        let arguments = Arguments {
            api_server,
            etcd: [ports.take()?, ports.take()?],
            data: folder.join("etcd"),
            kubeconfig: kubeconfig.clone(),
            certificates,
        };
        let mut control_plane = Self {
            binary: tool("control-plane")?,
            kubectl: Kubectl::new(&kubeconfig)?,
            client: Client::new(),
            folder,
            arguments,
            starts: 0,
            controllers: None,
            api_server: None,
            etcd: None,
        };
        control_plane.start_all(dir).await?;
        Ok(control_plane)
    }

    async fn start_all(&mut self, dir: &TestDir) -> anyhow::Result<()> {
        self.etcd = Some(self.spawn(dir, "etcd", &self.arguments.etcd())?);
        let url = format!("http://{}/health", self.arguments.etcd[0]);
        let healthy = async || {
            let health = self.client.get(&url).await?.ok()?.json()?;
            ensure!(health["health"] == "true", "etcd is not healthy: {health}");
            Ok(())
        };
        eventually("etcd responds", healthy).await?;
        self.start_api_server(dir).await?;
        self.controllers = Some(self.spawn(dir, "kube-controller-manager", &self.arguments.controllers())?);
        // The admission of pods needs it, and a controller makes it.
        let account = async || self.kubectl.get(&["serviceaccount", "default"]).await;
        eventually("the controllers work", account).await?;
        Ok(())
    }

    /// Starts one part. Each start has its own log.
    fn spawn(&self, dir: &TestDir, part: &str, arguments: &[String]) -> anyhow::Result<Process> {
        let arguments = [&[part.to_owned()], arguments].concat();
        Process::start(dir, &format!("{part}.{}", self.starts), &self.binary, &arguments)
    }

    /// Returns kubectl with all rights.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// Returns the URL of the API server.
    pub fn url(&self) -> String {
        format!("https://{}", self.arguments.api_server)
    }

    /// Returns the file with the certificate of the authority that signed the API server's certificate.
    pub fn authority(&self) -> &Path {
        &self.arguments.certificates.authority
    }

    /// Writes a kubeconfig with the rights of a service account, and returns its path.
    ///
    /// # Errors
    /// Fails when the API server does not issue a token.
    pub async fn kubeconfig_of(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let token = self.kubectl.run(&["create", "token", account, "--namespace", namespace]).await?;
        let user = json!({ "token": token.trim() });
        let file = self.folder.join(format!("{namespace}-{account}.kubeconfig"));
        let certificates = &self.arguments.certificates;
        std::fs::write(&file, certificates.kubeconfig_for(self.arguments.api_server, &user).to_string())?;
        Ok(file)
    }

    /// Kills the API server. It takes longer than any test can wait to end by itself.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn stop_api_server(&mut self) -> anyhow::Result<()> {
        self.api_server.take().context("the API server is not running")?.kill()
    }

    /// Pauses the API server: connections stay open, but it does not respond.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn pause_api_server(&self) -> anyhow::Result<()> {
        self.api_server.as_ref().context("the API server is not running")?.send(Signal::Stop)
    }

    /// Continues a paused API server.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn resume_api_server(&self) -> anyhow::Result<()> {
        self.api_server.as_ref().context("the API server is not running")?.send(Signal::Continue)
    }

    /// Starts the API server and waits until it is ready. The controllers start again too, as in a cluster, where they end
    /// when they cannot renew their lease. Others would wait for up to a minute before they ask again.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub async fn start_api_server(&mut self, dir: &TestDir) -> anyhow::Result<()> {
        self.starts += 1;
        self.api_server = Some(self.spawn(dir, "kube-apiserver", &self.arguments.api_server())?);
        eventually("the API server is ready", async || self.kubectl.run(&["get", "--raw", "/readyz"]).await)
            .await?;
        if let Some(mut controllers) = self.controllers.take() {
            controllers.kill()?;
            self.controllers =
                Some(self.spawn(dir, "kube-controller-manager", &self.arguments.controllers())?);
        }
        Ok(())
    }

    /// Forgets the history up to now, so that a watch from before cannot continue: once the API server has started
    /// again, as a running one remembers some history itself.
    ///
    /// # Errors
    /// Fails when etcd does not respond.
    pub async fn forget_history(&self) -> anyhow::Result<()> {
        let url = |action: &str| format!("http://{}/v3/kv/{action}", self.arguments.etcd[0]);
        // Any key will do: the response has the revision of the whole store. Keys are in base64.
        let read =
            self.client.post(&url("range"), json!({ "key": "AA==" }).to_string()).await?.ok()?.json()?;
        let revision = json!({ "revision": read["header"]["revision"], "physical": true });
        self.client.post(&url("compaction"), revision.to_string()).await?.ok()?;
        Ok(())
    }

    /// Copies all objects.
    ///
    /// # Errors
    /// Fails when etcd is not running, or its data cannot be copied.
    pub fn checkpoint(&self) -> anyhow::Result<Checkpoint> {
        let etcd = self.etcd.as_ref().context("etcd is not running")?;
        let copy = self.folder.join(format!("checkpoint-{}", self.starts));
        // A paused etcd has the same files as a killed one, and it starts from those.
        etcd.send(Signal::Stop)?;
        let copied = replace(&self.arguments.data, &copy);
        etcd.send(Signal::Continue)?;
        copied?;
        Ok(Checkpoint(copy))
    }

    /// Restarts everything with the objects of a checkpoint: with an older history, in which resource versions repeat.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub async fn rewind(&mut self, dir: &TestDir, checkpoint: &Checkpoint) -> anyhow::Result<()> {
        for process in [&mut self.controllers, &mut self.api_server, &mut self.etcd] {
            if let Some(mut running) = process.take() {
                running.kill()?;
            }
        }
        replace(&checkpoint.0, &self.arguments.data)?;
        self.starts += 1;
        self.start_all(dir).await
    }
}

/// Replaces a folder by a copy of another.
fn replace(from: &Path, to: &Path) -> anyhow::Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    let status = Command::new("cp").arg("-r").args([from, to]).status()?;
    ensure!(status.success(), "cannot copy {} to {}", from.display(), to.display());
    Ok(())
}
