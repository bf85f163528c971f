//! Runs etcd.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use crate::http::Client;
use crate::processes::{Process, Signal};
use crate::test_dir::{TestDir, target};
use crate::wait::eventually;

/// The environment variable with the path of the etcd to start instead of the one that xtask downloaded.
const VARIABLE: &str = "SIGNALBOX_ETCD";

/// How clients connect.
#[derive(Clone, Debug)]
pub enum Transport {
    /// Without TLS.
    Plaintext,
    /// With TLS; client and server present a certificate.
    MutualTls(Certificates),
}

/// PEM files for etcd.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The certificate of the authority that must have signed client certificates.
    pub ca: PathBuf,
    /// The server certificate.
    pub certificate: PathBuf,
    /// The key of the server certificate.
    pub key: PathBuf,
}

/// An etcd with one member, in its own process.
#[derive(Debug)]
pub struct Etcd {
    transport: Transport,
    clients: SocketAddr,
    peers: SocketAddr,
    health: SocketAddr,
    data: PathBuf,
    process: Option<Process>,
}

impl Etcd {
    /// Starts etcd without TLS and waits until it responds.
    ///
    /// # Errors
    /// Fails when it does not respond in time.
    pub async fn start(dir: &TestDir, client: &Client) -> anyhow::Result<Self> {
        Self::start_with(dir, client, Transport::Plaintext).await
    }

    /// Like [`Etcd::start`], with a choice of transport.
    ///
    /// # Errors
    /// Fails like [`Etcd::start`].
    pub async fn start_with(dir: &TestDir, client: &Client, transport: Transport) -> anyhow::Result<Self> {
        let ([clients, peers, health], data) = (free_addresses()?, dir.path().join("etcd"));
        let mut etcd = Self { transport, clients, peers, health, data, process: None };
        etcd.restart(dir, client).await?;
        Ok(etcd)
    }

    /// Starts it again, with the same addresses and data.
    ///
    /// # Errors
    /// Fails when it does not respond in time.
    pub async fn restart(&mut self, dir: &TestDir, client: &Client) -> anyhow::Result<()> {
        self.process = Some(Process::start(dir, "etcd", &binary()?, &self.arguments())?);
        let url = match self.transport {
            Transport::Plaintext => format!("http://{}/health", self.clients),
            Transport::MutualTls(_) => format!("http://{}/health", self.health),
        };
        let healthy = async || {
            let response = client.get(&url).await?.ok()?;
            ensure!(response.json()?["health"] == "true", "etcd is not healthy yet");
            Ok(())
        };
        eventually("etcd responds", healthy).await
    }

    fn arguments(&self) -> Vec<OsString> {
        let scheme = match self.transport {
            Transport::Plaintext => "http",
            Transport::MutualTls(_) => "https",
        };
        let (clients, peers) = (format!("{scheme}://{}", self.clients), format!("http://{}", self.peers));
        let mut flags: Vec<(&str, OsString)> = vec![
            ("--data-dir", self.data.clone().into()),
            ("--initial-cluster", format!("default={peers}").into()),
            ("--listen-client-urls", clients.clone().into()),
            ("--advertise-client-urls", clients.into()),
            ("--listen-peer-urls", peers.clone().into()),
            ("--initial-advertise-peer-urls", peers.into()),
            ("--listen-metrics-urls", format!("http://{}", self.health).into()),
            ("--log-level", "error".into()),
        ];
        if let Transport::MutualTls(Certificates { ca, certificate, key }) = self.transport.clone() {
            let files = [("--trusted-ca-file", ca), ("--cert-file", certificate), ("--key-file", key)];
            flags.extend(files.map(|(name, file)| (name, file.into())));
            flags.push(("--client-cert-auth", OsString::new()));
        }
        // The data need not survive a crash of the machine.
        flags.push(("--unsafe-no-fsync", OsString::new()));
        let words = flags.into_iter().flat_map(|(name, value)| [name.into(), value]);
        words.filter(|word| !word.is_empty()).collect()
    }

    /// Returns the value for `--coordinator`.
    pub fn url(&self) -> String {
        format!("etcd://{}", self.clients)
    }

    /// Returns the address for clients.
    pub fn address(&self) -> SocketAddr {
        self.clients
    }

    /// Stops it with SIGTERM and waits until it has exited.
    ///
    /// # Errors
    /// Fails when it does not exit within a minute.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            process.stop(Signal::Terminate).await?;
        }
        Ok(())
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Pauses it with SIGSTOP: connections stay open, but it does not respond.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.running()?.send(Signal::Stop)
    }

    /// Resumes it with SIGCONT.
    ///
    /// # Errors
    /// Fails when it is not running.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.running()?.send(Signal::Continue)
    }

    /// Revokes all leases, as if all holders had died long ago.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn revoke_leases(&self, client: &Client) -> anyhow::Result<()> {
        let url = format!("http://{}/v3/lease", self.clients);
        let leases = client.post(&format!("{url}/leases"), "{}").await?.ok()?.json()?;
        for lease in leases["leases"].as_array().into_iter().flatten() {
            let id = serde_json::json!({ "ID": lease["ID"] });
            client.post(&format!("{url}/revoke"), id.to_string()).await?.ok()?;
        }
        Ok(())
    }

    /// Requires clients to authenticate as `root` with this password.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn require_password(&self, client: &Client, password: &str) -> anyhow::Result<()> {
        let steps = [
            ("user/add", serde_json::json!({ "name": "root", "password": password })),
            ("user/grant", serde_json::json!({ "user": "root", "role": "root" })),
            ("enable", serde_json::json!({})),
        ];
        for (step, body) in steps {
            let url = format!("http://{}/v3/auth/{step}", self.clients);
            client.post(&url, body.to_string()).await?.ok()?;
        }
        Ok(())
    }

    fn running(&self) -> anyhow::Result<&Process> {
        self.process.as_ref().context("etcd is not running")
    }
}

/// Returns free addresses. etcd must know its ports before it listens.
fn free_addresses() -> anyhow::Result<[SocketAddr; 3]> {
    // All listeners stay open until all addresses are known, so that the ports differ.
    let listeners = [bound()?, bound()?, bound()?];
    let [clients, peers, health] = &listeners;
    Ok([clients.local_addr()?, peers.local_addr()?, health.local_addr()?])
}

fn bound() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// Returns the etcd from the environment variable, else the downloaded one, else one in `PATH`.
fn binary() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Ok(given.into());
    }
    let folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let mut places = std::iter::once(target()?).chain(folders).map(|folder| folder.join("etcd"));
    match places.find(|place| place.is_file()) {
        Some(found) => Ok(found),
        None => bail!(
            "etcd is not installed: run `cargo xtask test`, which downloads it, or set {VARIABLE} to an etcd 3.5 binary"
        ),
    }
}
