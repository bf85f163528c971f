//! Runs a simulated model server.

use anyhow::Context;
use serde_json::{Value, json};

use crate::http::MODEL;
use crate::http::{Client, Response};
use crate::processes::Process;
use crate::test_dir::TestDir;

/// The configuration of a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodConfig {
    /// The speed, as a multiple of the profile `linear` (`docs/MODELSIM.md`).
    pub speed: f64,
    /// The KV cache capacity, in tokens.
    pub kv_capacity_tokens: u64,
}

impl Default for PodConfig {
    fn default() -> Self {
        Self { speed: 100.0, kv_capacity_tokens: 524_288 }
    }
}

/// A simulated model server in its own process.
#[derive(Debug)]
pub struct Pod {
    name: String,
    address: String,
    process: Process,
}

impl Pod {
    /// Starts a pod and waits until it is ready.
    ///
    /// # Errors
    /// Fails when it does not become ready.
    pub async fn start(dir: &TestDir, name: &str, config: PodConfig) -> anyhow::Result<Self> {
        let (speed, capacity) = (config.speed.to_string(), config.kv_capacity_tokens.to_string());
        let flags = [
            "--listen",
            "127.0.0.1:0",
            "--name",
            name,
            "--model",
            MODEL,
            "--speed",
            &speed,
            "--kv-capacity-tokens",
            &capacity,
            "--enable-prompt-tokens-details",
            "--output",
            "json",
        ];
        let (process, ready) = Process::start_ready(dir, "signalbox-modelsim", name, &flags).await?;
        let text = |key: &str| {
            let value = ready["pods"][0][key].as_str();
            value.map(str::to_owned).with_context(|| format!("{name} printed {ready}"))
        };
        Ok(Self { name: text("name")?, address: text("address")?, process })
    }

    /// Returns its name, as in the header `x-signalbox-pod`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns its address, host:port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Overrides the KV cache usage (0 to 1) and the number of waiting requests on its metrics page.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn override_metrics(&self, client: &Client, kv_usage: f64, waiting: u32) -> anyhow::Result<()> {
        self.set_faults(client, &json!({ "kv_usage": kv_usage, "waiting": waiting })).await
    }

    /// Makes every request fail with status 500.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn fail_all_requests(&self, client: &Client) -> anyhow::Result<()> {
        self.set_faults(client, &json!({ "error_rate": 1.0 })).await
    }

    /// Keeps it from making progress: it accepts requests and begins its responses, but produces no token.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn wedge(&self, client: &Client) -> anyhow::Result<()> {
        self.set_faults(client, &json!({ "engine": "wedged" })).await
    }

    /// Does the same, and lets it say that its KV cache is full and no request waits.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn wedge_full(&self, client: &Client) -> anyhow::Result<()> {
        self.set_faults(client, &json!({ "engine": "wedged", "kv_usage": 0.99, "waiting": 0 })).await
    }

    /// Lets it work normally again. It continues where it was.
    ///
    /// # Errors
    /// Fails when it does not respond.
    pub async fn clear_faults(&self, client: &Client) -> anyhow::Result<()> {
        self.set_faults(client, &json!({})).await
    }

    async fn set_faults(&self, client: &Client, faults: &Value) -> anyhow::Result<()> {
        client.post(&format!("http://{}/admin/faults", self.address), faults.to_string()).await?.ok()?;
        Ok(())
    }

    /// Sends a request to the pod itself, bypassing the gateway.
    ///
    /// # Errors
    /// Fails when the status is not 200.
    pub async fn send(&self, client: &Client, path: &str, body: bytes::Bytes) -> anyhow::Result<Response> {
        client.post(&format!("http://{}{path}", self.address), body).await?.ok()
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }
}
