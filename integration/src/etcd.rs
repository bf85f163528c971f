//! etcd.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};

use crate::client::Client;
use crate::process::{Process, Signal};
use crate::scratch::{Scratch, target};
use crate::wait::eventually;

/// Which etcd to start, when not the one that xtask put in the build folder.
const VARIABLE: &str = "SIGNALBOX_ETCD";

/// How clients speak with it.
#[derive(Clone, Debug)]
pub enum Transport {
    /// As it comes.
    Plaintext,
    /// With TLS, and both sides show a certificate.
    Mutual(Certificates),
}

/// PEM files.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// Who must have signed clients' certificates.
    pub ca: PathBuf,
    /// Its own certificate.
    pub certificate: PathBuf,
    /// The key of that.
    pub key: PathBuf,
}

/// An etcd of one member, in a process of its own.
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
    /// Starts one and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn start(scratch: &Scratch, client: &Client) -> anyhow::Result<Self> {
        Self::start_with(scratch, client, Transport::Plaintext).await
    }

    /// As [`Etcd::start`].
    ///
    /// # Errors
    /// As [`Etcd::start`].
    pub async fn start_with(
        scratch: &Scratch,
        client: &Client,
        transport: Transport,
    ) -> anyhow::Result<Self> {
        let ([clients, peers, health], data) = (free_addresses()?, scratch.path().join("etcd"));
        let mut etcd = Self { transport, clients, peers, health, data, process: None };
        etcd.start_again(scratch, client).await?;
        Ok(etcd)
    }

    /// Starts it where it was, with what it knew.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn start_again(&mut self, scratch: &Scratch, client: &Client) -> anyhow::Result<()> {
        self.process = Some(Process::start(scratch, "etcd", &binary()?, &self.arguments())?);
        let url = match self.transport {
            Transport::Plaintext => format!("http://{}/health", self.clients),
            Transport::Mutual(_) => format!("http://{}/health", self.health),
        };
        let healthy = async || {
            let answer = client.get(&url).await?.ok()?;
            ensure!(answer.json()?["health"] == "true", "it is not healthy yet");
            Ok(())
        };
        eventually("etcd answers", healthy).await
    }

    fn arguments(&self) -> Vec<OsString> {
        let scheme = match self.transport {
            Transport::Plaintext => "http",
            Transport::Mutual(_) => "https",
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
        if let Transport::Mutual(Certificates { ca, certificate, key }) = self.transport.clone() {
            let files = [("--trusted-ca-file", ca), ("--cert-file", certificate), ("--key-file", key)];
            flags.extend(files.map(|(name, file)| (name, file.into())));
            flags.push(("--client-cert-auth", OsString::new()));
        }
        // Its disk is a test's: whether it outlives the machine is nobody's concern.
        flags.push(("--unsafe-no-fsync", OsString::new()));
        let words = flags.into_iter().flat_map(|(name, value)| [name.into(), value]);
        words.filter(|word| !word.is_empty()).collect()
    }

    /// As `--coordinator` takes it.
    pub fn url(&self) -> String {
        format!("etcd://{}", self.clients)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.clients
    }

    /// Asks it to end, and waits until it is gone.
    ///
    /// # Errors
    /// When it is not gone within a minute.
    pub async fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(process) = self.process.take() {
            process.end(Signal::Terminate).await?;
        }
        Ok(())
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.take().map_or(Ok(()), |mut process| process.kill())
    }

    /// Has it stand still: connections stay, answers do not come.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.running()?.send(Signal::Stop)
    }

    /// Has it go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.running()?.send(Signal::Continue)
    }

    /// Ends every lease there is, as if all their holders had died long ago.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn revoke_leases(&self, client: &Client) -> anyhow::Result<()> {
        let url = format!("http://{}/v3/lease", self.clients);
        let leases = client.post(&format!("{url}/leases"), "{}").await?.ok()?.json()?;
        for lease in leases["leases"].as_array().into_iter().flatten() {
            let id = serde_json::json!({ "ID": lease["ID"] });
            client.post(&format!("{url}/revoke"), id.to_string()).await?.ok()?;
        }
        Ok(())
    }

    /// Lets in nobody but `root` with this password from now on.
    ///
    /// # Errors
    /// When it does not answer.
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
        self.process.as_ref().context("etcd does not run")
    }
}

/// Ports that nobody has at the moment: etcd has to be told its own before it listens.
fn free_addresses() -> anyhow::Result<[SocketAddr; 3]> {
    // All are held until all are known: they differ.
    let listeners = [bound()?, bound()?, bound()?];
    let [clients, peers, health] = &listeners;
    Ok([clients.local_addr()?, peers.local_addr()?, health.local_addr()?])
}

fn bound() -> std::io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
}

/// The one that is named, else the one that xtask got, else one of the system's.
fn binary() -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return Ok(given.into());
    }
    let folders: Vec<PathBuf> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
    let mut places = std::iter::once(target()?).chain(folders).map(|folder| folder.join("etcd"));
    match places.find(|place| place.is_file()) {
        Some(found) => Ok(found),
        None => bail!(
            "there is no etcd: run `cargo xtask test`, which gets one, or set {VARIABLE} to an etcd 3.5 binary"
        ),
    }
}
