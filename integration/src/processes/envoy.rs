//! Runs Envoy in front of EPP replicas.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::http::Client;
use crate::processes::Epp;
use crate::processes::Process;
use crate::processes::gateway_replica::{GatewayReplica, gateway_replicas};
use crate::test_dir::{TestDir, target};
use crate::wait::eventually;

/// The response header in which Envoy returns the destination that the EPP set.
pub const PICKED_HEADER: &str = "x-test-picked";

/// The environment variable with the path of the Envoy to start instead of the one that xtask downloaded.
const VARIABLE: &str = "SIGNALBOX_ENVOY";

const TEMPLATE: &str = include_str!("envoy.yaml");

/// What the EPP receives of request bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMode {
    /// Each chunk as it arrives; the EPP sends it back. Gateways use this mode.
    FullDuplex,
    /// The whole body, before the request is forwarded.
    Buffered,
    /// Each chunk, while the request is forwarded.
    Streamed,
    /// Nothing.
    NotSent,
}

impl RequestMode {
    /// Returns Envoy's body mode and trailer mode.
    fn modes(self) -> [&'static str; 2] {
        match self {
            Self::FullDuplex => ["FULL_DUPLEX_STREAMED", "SEND"],
            Self::Buffered => ["BUFFERED", "SKIP"],
            Self::Streamed => ["STREAMED", "SKIP"],
            Self::NotSent => ["NONE", "SKIP"],
        }
    }
}

/// What the EPP receives of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// Headers, body and trailers. Gateways use this mode.
    FullDuplex,
    /// The headers, and the end of the stream when the response ends.
    HeadersAndEnd,
    /// Only the headers; the stream ends with them.
    HeadersOnly,
    /// Nothing; the stream ends with the request. An access log reports the end of the response.
    AccessLog,
    /// The headers, and an access log.
    HeadersAndAccessLog,
    /// Each chunk; Envoy waits for one reply to each.
    Streamed,
    /// The whole body, before it is forwarded.
    Buffered,
}

impl ResponseMode {
    /// Returns Envoy's header mode, body mode and trailer mode.
    fn modes(self) -> [&'static str; 3] {
        match self {
            Self::FullDuplex => ["SEND", "FULL_DUPLEX_STREAMED", "SEND"],
            Self::HeadersAndEnd => ["SEND", "NONE", "SEND"],
            Self::HeadersOnly | Self::HeadersAndAccessLog => ["SEND", "NONE", "SKIP"],
            Self::AccessLog => ["SKIP", "NONE", "SKIP"],
            Self::Streamed => ["SEND", "STREAMED", "SKIP"],
            Self::Buffered => ["SEND", "BUFFERED", "SKIP"],
        }
    }

    fn has_log(self) -> bool {
        matches!(self, Self::AccessLog | Self::HeadersAndAccessLog)
    }
}

/// The number of worker threads of Envoy, unless a test needs another one. Each has a connection of its own to each EPP
/// replica.
pub(crate) const GATEWAY_THREADS: u16 = 2;

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    admin: String,
    url: String,
    _process: Process,
}

impl Envoy {
    /// Starts Envoy with so many worker threads and waits until it listens and considers all `epps` healthy.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub async fn start(
        dir: &TestDir,
        client: &Client,
        epps: &[Epp],
        modes: (RequestMode, ResponseMode),
        threads: u16,
    ) -> anyhow::Result<Self> {
        let envoy = Self::with_threads(dir, client, &bootstrap(epps, modes)?, threads).await?;
        envoy.wait_for_healthy_replicas(client, epps.len()).await?;
        Ok(envoy)
    }

    /// Starts Envoy with this configuration and waits until it listens. Clients must connect to the listener
    /// `gateway`, and the EPP replicas must be the cluster `epp`.
    ///
    /// # Errors
    /// Fails when it does not listen in time.
    pub async fn configured(dir: &TestDir, client: &Client, text: &str) -> anyhow::Result<Self> {
        Self::with_threads(dir, client, text, GATEWAY_THREADS).await
    }

    async fn with_threads(dir: &TestDir, client: &Client, text: &str, threads: u16) -> anyhow::Result<Self> {
        let (config, admin) = (dir.path().join("envoy.yaml"), dir.path().join("envoy.admin"));
        fs::write(&config, text)?;
        let process = spawn(dir, &config, &admin, threads)?;
        let admin = eventually("Envoy writes its admin address", async || admin_address(&admin)).await?;
        let url = eventually("Envoy listens", async || gateway_url(client, &admin).await).await?;
        Ok(Self { admin, url, _process: process })
    }

    /// Lets Envoy validate a configuration.
    ///
    /// # Errors
    /// Fails with Envoy's message when the configuration is invalid.
    pub fn validate(dir: &TestDir, text: &str) -> anyhow::Result<()> {
        let config = dir.path().join("validated.yaml");
        fs::write(&config, text)?;
        let output = Command::new(envoy_binary()?)
            .args(["--mode", "validate", "--config-path"])
            .arg(&config)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Returns the URL for clients, `http://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until Envoy considers exactly `count` EPP replicas healthy.
    ///
    /// # Errors
    /// Fails when it does not in time.
    pub async fn wait_for_healthy_replicas(&self, client: &Client, count: usize) -> anyhow::Result<()> {
        let check = async || {
            let found = self.healthy_replicas(client).await?;
            ensure!(found == count, "{found} are healthy");
            Ok(())
        };
        eventually(&format!("Envoy considers {count} EPP replicas healthy"), check).await
    }

    /// Returns how many EPP replicas Envoy considers healthy.
    ///
    /// # Errors
    /// Fails when Envoy does not respond.
    pub async fn healthy_replicas(&self, client: &Client) -> anyhow::Result<usize> {
        Ok(self.replicas(client).await?.values().filter(|replica| replica.is_healthy).count())
    }

    /// Returns what Envoy knows about each EPP replica, by the address of its ext-proc port.
    ///
    /// # Errors
    /// Fails when Envoy does not respond, or does not know the health of a replica.
    pub async fn replicas(&self, client: &Client) -> anyhow::Result<BTreeMap<SocketAddr, GatewayReplica>> {
        let url = format!("http://{}/clusters?format=json", self.admin);
        gateway_replicas(&client.get(&url).await?.ok()?.json()?)
    }

    /// Returns the value of a statistic; `None` when Envoy has none of that name yet.
    ///
    /// # Errors
    /// Fails when Envoy does not respond.
    pub async fn statistic(&self, client: &Client, name: &str) -> anyhow::Result<Option<u64>> {
        let url = format!("http://{}/stats?filter=^{name}$", self.admin);
        let response = client.get(&url).await?.ok()?;
        let value = response.text()?.trim().split_once(": ").map(|(_, value)| value.parse());
        Ok(value.transpose()?)
    }
}

fn spawn(dir: &TestDir, config: &Path, admin: &Path, threads: u16) -> anyhow::Result<Process> {
    let binary = envoy_binary()?;
    // Envoy needs two file descriptors per request, more than the soft limit of most shells. `exec` replaces
    // the shell.
    let raise = r#"ulimit -S -n "$(ulimit -H -n)" 2>/dev/null; exec "$0" "$@""#;
    let threads = threads.to_string();
    let flags =
        ["--concurrency", &threads, "--disable-hot-restart", "--log-level", "warning", "--config-path"];
    let mut arguments = vec!["-c".as_ref(), raise.as_ref(), binary.as_os_str()];
    arguments.extend(flags.map(std::ffi::OsStr::new));
    arguments.extend([config.as_os_str(), "--admin-address-path".as_ref(), admin.as_os_str()]);
    Process::start(dir, "envoy", Path::new("/bin/sh"), &arguments)
}

/// Returns the path of the Envoy that tests start.
///
/// # Errors
/// Fails when there is no Envoy.
pub fn envoy_binary() -> anyhow::Result<PathBuf> {
    let known = target()?.join("envoy");
    match std::env::var_os(VARIABLE) {
        Some(given) => Ok(given.into()),
        None if known.exists() => Ok(known),
        None => bail!(
            "Envoy is not installed: run `cargo xtask test`, which downloads it, or set {VARIABLE} to an Envoy 1.40 binary"
        ),
    }
}

fn bootstrap(epps: &[Epp], (request, mode): (RequestMode, ResponseMode)) -> anyhow::Result<String> {
    let hosts = |address: fn(&Epp) -> &str| -> anyhow::Result<String> {
        let hosts: anyhow::Result<Vec<String>> =
            epps.iter().map(|epp| host(address(epp), &epp.health)).collect();
        Ok(hosts?.join(", "))
    };
    let lines = TEMPLATE.lines().filter(|line| mode.has_log() || !line.ends_with("# access-log"));
    let text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let [header_mode, body_mode, trailer_mode] = mode.modes();
    let [request_body_mode, request_trailer_mode] = request.modes();
    let names = [
        ("@REQUEST_BODY_MODE@", request_body_mode),
        ("@REQUEST_TRAILER_MODE@", request_trailer_mode),
        ("@PICKED_HEADER@", PICKED_HEADER),
        ("@RESPONSE_HEADER_MODE@", header_mode),
        ("@RESPONSE_BODY_MODE@", body_mode),
        ("@RESPONSE_TRAILER_MODE@", trailer_mode),
        ("@REPLICAS@", &hosts(|epp| &epp.ext_proc)?),
        ("@ACCESS_LOGS@", &hosts(|epp| &epp.access_log)?),
    ];
    Ok(names.iter().fold(text, |text, (name, value)| text.replace(name, value)))
}

fn host(address: &str, health: &str) -> anyhow::Result<String> {
    let (address, health): (SocketAddr, SocketAddr) = (address.parse()?, health.parse()?);
    let address =
        format!("{{ socket_address: {{ address: {}, port_value: {} }} }}", address.ip(), address.port());
    let check = format!("{{ port_value: {} }}", health.port());
    Ok(format!("{{ endpoint: {{ address: {address}, health_check_config: {check} }} }}"))
}

fn admin_address(file: &Path) -> anyhow::Result<String> {
    let address = fs::read_to_string(file)?;
    ensure!(address.contains(':'), "the file is still empty");
    Ok(address.trim().to_owned())
}

async fn gateway_url(client: &Client, admin: &str) -> anyhow::Result<String> {
    client.get(&format!("http://{admin}/ready")).await?.ok()?;
    let listeners = client.get(&format!("http://{admin}/listeners?format=json")).await?.ok()?.json()?;
    let mut statuses = listeners["listener_statuses"].as_array().into_iter().flatten();
    let gateway = statuses.find(|status| status["name"] == "gateway").context("Envoy has no listener yet")?;
    let port = &gateway["local_address"]["socket_address"]["port_value"];
    Ok(format!("http://127.0.0.1:{}", port.as_u64().context("the listener has no port")?))
}
