//! Envoy in front of EPP replicas.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::client::Client;
use crate::epp::Epp;
use crate::process::Process;
use crate::scratch::{Scratch, target};
use crate::wait::eventually;

/// The response header in which Envoy tells the destination that the EPP had set.
pub const PICKED_HEADER: &str = "x-test-picked";

/// Which Envoy to start, when not the one that xtask put in the build folder.
const VARIABLE: &str = "SIGNALBOX_ENVOY";

const TEMPLATE: &str = include_str!("envoy.yaml");

/// What the EPP sees of requests' bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestMode {
    /// Each chunk as it comes, to be sent back; what gateways configure.
    FullDuplex,
    /// The whole body, before the request goes on.
    Buffered,
    /// Each chunk, when the request is on its way.
    Streamed,
    /// Nothing.
    Hidden,
}

impl RequestMode {
    /// Body and trailer mode.
    fn modes(self) -> [&'static str; 2] {
        match self {
            Self::FullDuplex => ["FULL_DUPLEX_STREAMED", "SEND"],
            Self::Buffered => ["BUFFERED", "SKIP"],
            Self::Streamed => ["STREAMED", "SKIP"],
            Self::Hidden => ["NONE", "SKIP"],
        }
    }
}

/// What the EPP sees of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseMode {
    /// Everything; what gateways configure.
    FullDuplex,
    /// The headers, and the end of the stream when the response ends.
    HeadersAndEnd,
    /// The headers alone: the stream ends with them.
    HeadersAlone,
    /// Nothing: the stream ends with the request. An access log tells of the response's end.
    Logged,
    /// The headers, and what the access log tells.
    HeadersLogged,
    /// Each chunk, which waits for one answer.
    Streamed,
    /// The whole body, before it goes on.
    Buffered,
}

impl ResponseMode {
    /// Header, body and trailer mode.
    fn modes(self) -> [&'static str; 3] {
        match self {
            Self::FullDuplex => ["SEND", "FULL_DUPLEX_STREAMED", "SEND"],
            Self::HeadersAndEnd => ["SEND", "NONE", "SEND"],
            Self::HeadersAlone | Self::HeadersLogged => ["SEND", "NONE", "SKIP"],
            Self::Logged => ["SKIP", "NONE", "SKIP"],
            Self::Streamed => ["SEND", "STREAMED", "SKIP"],
            Self::Buffered => ["SEND", "BUFFERED", "SKIP"],
        }
    }

    fn has_log(self) -> bool {
        matches!(self, Self::Logged | Self::HeadersLogged)
    }
}

/// A running Envoy.
#[derive(Debug)]
pub struct Envoy {
    admin: String,
    url: String,
    _process: Process,
}

impl Envoy {
    /// Starts one, and waits until it listens and takes all `epps` for healthy.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(
        scratch: &Scratch,
        client: &Client,
        epps: &[Epp],
        modes: (RequestMode, ResponseMode),
    ) -> anyhow::Result<Self> {
        let envoy = Self::configured(scratch, client, &bootstrap(epps, modes)?).await?;
        envoy.sees_healthy(client, epps.len()).await?;
        Ok(envoy)
    }

    /// Starts one with this configuration, in which clients connect to the listener `gateway` and EPP replicas are the cluster `epp`, and
    /// waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub async fn configured(scratch: &Scratch, client: &Client, text: &str) -> anyhow::Result<Self> {
        let (config, admin) = (scratch.path().join("envoy.yaml"), scratch.path().join("envoy.admin"));
        fs::write(&config, text)?;
        let process = spawn(scratch, &config, &admin)?;
        let admin = eventually("Envoy tells its admin address", async || admin_address(&admin)).await?;
        let url = eventually("Envoy listens", async || gateway_url(client, &admin).await).await?;
        Ok(Self { admin, url, _process: process })
    }

    /// Has Envoy itself read a configuration and say whether it is one.
    ///
    /// # Errors
    /// When it is not, with what Envoy says.
    pub fn validate(scratch: &Scratch, text: &str) -> anyhow::Result<()> {
        let config = scratch.path().join("validated.yaml");
        fs::write(&config, text)?;
        let output = Command::new(envoy_binary()?)
            .args(["--mode", "validate", "--config-path"])
            .arg(&config)
            .output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    /// Where clients connect, `http://host:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Waits until it takes exactly `count` EPP replicas for healthy.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn sees_healthy(&self, client: &Client, count: usize) -> anyhow::Result<()> {
        let check = async || {
            let found = self.healthy(client).await?;
            ensure!(found == count, "{found} are");
            Ok(())
        };
        eventually(&format!("Envoy takes {count} EPP replicas for healthy"), check).await
    }

    /// How many EPP replicas it takes for healthy.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn healthy(&self, client: &Client) -> anyhow::Result<usize> {
        let url = format!("http://{}/clusters?format=json", self.admin);
        Ok(healthy(&client.get(&url).await?.ok()?.json()?))
    }

    /// One of its statistics; 0 when it has none of that name yet.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn statistic(&self, client: &Client, name: &str) -> anyhow::Result<u64> {
        let url = format!("http://{}/stats?filter=^{name}$", self.admin);
        let answer = client.get(&url).await?.ok()?;
        let Some((_, value)) = answer.text()?.trim().split_once(": ") else { return Ok(0) };
        Ok(value.parse()?)
    }
}

fn spawn(scratch: &Scratch, config: &Path, admin: &Path) -> anyhow::Result<Process> {
    let binary = envoy_binary()?;
    // Envoy needs two connections per request, more than shells allow by default; the shell is gone with `exec`.
    let raise = r#"ulimit -S -n "$(ulimit -H -n)" 2>/dev/null; exec "$0" "$@""#;
    let flags = ["--concurrency", "2", "--disable-hot-restart", "--log-level", "warning", "--config-path"];
    let mut arguments = vec!["-c".as_ref(), raise.as_ref(), binary.as_os_str()];
    arguments.extend(flags.map(std::ffi::OsStr::new));
    arguments.extend([config.as_os_str(), "--admin-address-path".as_ref(), admin.as_os_str()]);
    Process::start(scratch, "envoy", Path::new("/bin/sh"), &arguments)
}

/// The Envoy that tests start.
///
/// # Errors
/// When there is none.
pub fn envoy_binary() -> anyhow::Result<PathBuf> {
    let known = target()?.join("envoy");
    match std::env::var_os(VARIABLE) {
        Some(given) => Ok(given.into()),
        None if known.exists() => Ok(known),
        None => bail!(
            "there is no Envoy: run `cargo xtask test`, which gets one, or set {VARIABLE} to an Envoy 1.40 binary"
        ),
    }
}

fn bootstrap(epps: &[Epp], (request, mode): (RequestMode, ResponseMode)) -> anyhow::Result<String> {
    let hosts = |address: fn(&Epp) -> &str| -> anyhow::Result<String> {
        let hosts: anyhow::Result<Vec<String>> =
            epps.iter().map(|epp| host(address(epp), &epp.health)).collect();
        Ok(hosts?.join(", "))
    };
    let lines = TEMPLATE.lines().filter(|line| mode.has_log() || !line.ends_with("# logged"));
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
    let gateway = statuses.find(|status| status["name"] == "gateway").context("it has no listener yet")?;
    let port = &gateway["local_address"]["socket_address"]["port_value"];
    Ok(format!("http://127.0.0.1:{}", port.as_u64().context("its listener has no port")?))
}

/// How many replicas are: those without a word to the contrary, of those that were checked.
fn healthy(clusters: &Value) -> usize {
    let clusters = clusters["cluster_statuses"].as_array().into_iter().flatten();
    let hosts = clusters
        .filter(|cluster| cluster["name"] == "epp")
        .flat_map(|cluster| cluster["host_statuses"].as_array());
    hosts.flatten().filter(|host| host["health_status"]["failed_active_health_check"] != true).count()
}
