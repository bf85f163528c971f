//! Runs an EPP replica on free ports.

use anyhow::Context;
use bytes::Bytes;
use serde_json::Value;

use crate::http::Client;
use crate::http::MetricsPage;
use crate::processes::{Process, built_binary};
use crate::test_dir::TestDir;

/// An EPP replica in its own process.
#[derive(Debug)]
pub struct Epp {
    pub(crate) ext_proc: String,
    pub(crate) health: String,
    pub(crate) access_log: String,
    metrics: String,
    process: Process,
}

impl Epp {
    /// Starts a replica that follows `aggregator`, with additional flags, and waits until it is ready.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub async fn start(dir: &TestDir, name: &str, aggregator: &str, more: &[&str]) -> anyhow::Result<Self> {
        let flags = flags(aggregator, more);
        let (process, ready) = Process::start_ready(dir, "signalbox-epp", name, &flags).await?;
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

    /// Starts a replica with additional flags and does not wait for it.
    ///
    /// # Errors
    /// Fails when the binary is not built.
    pub fn start_without_waiting(
        dir: &TestDir,
        name: &str,
        aggregator: &str,
        more: &[&str],
    ) -> anyhow::Result<Process> {
        let flags = [&["--name", name], &flags(aggregator, more)[..]].concat();
        Process::start(dir, name, &built_binary("signalbox-epp")?, &flags)
    }

    /// Reads its metrics page.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn metrics_page(&self, client: &Client) -> anyhow::Result<MetricsPage> {
        client.metrics(&self.metrics).await
    }

    /// Returns a metric, summed over all labels. `name` is without the prefix `signalbox_epp_`.
    ///
    /// # Errors
    /// Fails when it does not respond, or has no such metric.
    pub async fn metric(&self, client: &Client, name: &str) -> anyhow::Result<f64> {
        self.metrics_page(client).await?.value(&format!("signalbox_epp_{name}"))
    }

    /// Returns the explanation of the decision for a request with this body.
    ///
    /// # Errors
    /// Fails when the status is not 200.
    pub async fn explain(&self, client: &Client, body: Bytes) -> anyhow::Result<Value> {
        client.post(&format!("http://{}/explain", self.metrics), body).await?.ok()?.json()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }
}

/// Returns the flags to follow `aggregator` and to listen on free ports.
fn flags<'a>(aggregator: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut flags =
        vec!["--aggregator", aggregator, "--bind", "127.0.0.1", "--output", "json", "--secure-serving=false"];
    for port in ["--grpc-port", "--grpc-health-port", "--access-log-port", "--metrics-port"] {
        flags.extend([port, "0"]);
    }
    flags.extend(more);
    flags
}
