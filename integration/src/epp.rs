//! An EPP replica.

use anyhow::Context;
use bytes::Bytes;
use serde_json::Value;

use crate::client::Client;
use crate::metrics::Page;
use crate::process::{Process, built};
use crate::scratch::Scratch;

/// An EPP replica in a process of its own.
#[derive(Debug)]
pub struct Epp {
    pub(crate) ext_proc: String,
    pub(crate) health: String,
    pub(crate) access_log: String,
    metrics: String,
    process: Process,
}

impl Epp {
    /// Starts one that follows `aggregator`.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(scratch: &Scratch, name: &str, aggregator: &str) -> anyhow::Result<Self> {
        let flags = flags(aggregator, &[]);
        let (process, ready) = Process::ready(scratch, "signalbox-epp", name, &flags).await?;
        let text = |key: &str| {
            let value = ready[key].as_str();
            value.map(str::to_owned).with_context(|| format!("{name} printed {ready}"))
        };
        Ok(Self {
            ext_proc: text("ext_proc")?,
            health: text("health")?,
            access_log: text("access_log")?,
            metrics: text("metrics")?,
            process,
        })
    }

    /// Starts one with `more` flags that is not waited for.
    ///
    /// # Errors
    /// When there is no binary.
    pub fn unready(
        scratch: &Scratch,
        name: &str,
        aggregator: &str,
        more: &[&str],
    ) -> anyhow::Result<Process> {
        let flags = [&["--name", name], &flags(aggregator, more)[..]].concat();
        Process::start(scratch, name, &built("signalbox-epp")?, &flags)
    }

    /// All its metrics.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, client: &Client) -> anyhow::Result<Page> {
        client.metrics(&self.metrics).await
    }

    /// A metric of it, without the prefix `signalbox_epp_`; the sum over all labels, 0 when there are none yet.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn metric(&self, client: &Client, name: &str) -> anyhow::Result<f64> {
        Ok(client.metrics(&self.metrics).await?.sum(&format!("signalbox_epp_{name}")).unwrap_or(0.0))
    }

    /// Where it would send a request with this body, and why.
    ///
    /// # Errors
    /// When it does not answer with 200.
    pub async fn explain(&self, client: &Client, body: Bytes) -> anyhow::Result<Value> {
        client.post(&format!("http://{}/explain", self.metrics), body).await?.ok()?.json()
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

/// To follow `aggregator`, on free ports.
fn flags<'a>(aggregator: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut flags =
        vec!["--aggregator", aggregator, "--bind", "127.0.0.1", "--output", "json", "--secure-serving=false"];
    for port in ["--grpc-port", "--grpc-health-port", "--access-log-port", "--metrics-port"] {
        flags.extend([port, "0"]);
    }
    flags.extend(more);
    flags
}
