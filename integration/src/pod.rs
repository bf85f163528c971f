//! A simulated model server.

use anyhow::Context;
use serde_json::{Value, json};

use crate::client::{Answer, Client};
use crate::process::Process;
use crate::prompt::MODEL;
use crate::scratch::Scratch;

/// What a pod is like.
#[derive(Clone, Copy, Debug)]
pub struct PodConfig {
    /// How much faster than an 8B model on one H100.
    pub speed: f64,
    /// Tokens its KV cache holds.
    pub kv_capacity_tokens: u64,
}

impl Default for PodConfig {
    fn default() -> Self {
        Self { speed: 100.0, kv_capacity_tokens: 524_288 }
    }
}

/// A simulated model server in a process of its own.
#[derive(Debug)]
pub struct Pod {
    name: String,
    address: String,
    process: Process,
}

impl Pod {
    /// Starts one.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(scratch: &Scratch, name: &str, config: PodConfig) -> anyhow::Result<Self> {
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
            "--output",
            "json",
        ];
        let (process, ready) = Process::ready(scratch, "signalbox-modelsim", name, &flags).await?;
        let text = |key: &str| {
            let value = ready["pods"][0][key].as_str();
            value.map(str::to_owned).with_context(|| format!("{name} printed {ready}"))
        };
        Ok(Self { name: text("name")?, address: text("address")?, process })
    }

    /// Its name, as in the header `x-signalbox-pod`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, host:port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Has its metrics page show this KV use (0 to 1) and this many waiting requests.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn pretend(&self, client: &Client, kv_usage: f64, waiting: u32) -> anyhow::Result<()> {
        self.misbehave(client, &json!({ "kv_usage": kv_usage, "waiting": waiting })).await
    }

    /// Has it answer every request with status 500.
    ///
    /// # Errors
    /// When it cannot be told.
    pub async fn fail(&self, client: &Client) -> anyhow::Result<()> {
        self.misbehave(client, &json!({ "error_rate": 1.0 })).await
    }

    async fn misbehave(&self, client: &Client, faults: &Value) -> anyhow::Result<()> {
        client.post(&format!("http://{}/admin/faults", self.address), faults.to_string()).await?.ok()?;
        Ok(())
    }

    /// Asks it directly, past the gateway.
    ///
    /// # Errors
    /// When it does not answer with 200.
    pub async fn ask(&self, client: &Client, path: &str, body: bytes::Bytes) -> anyhow::Result<Answer> {
        client.post(&format!("http://{}{path}", self.address), body).await?.ok()
    }

    /// Kills it as the kernel would.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.process.kill()
    }
}
