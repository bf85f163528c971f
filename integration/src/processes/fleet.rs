//! Runs many simulated model servers in one process, each on its own port.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::endpoints_file::write_endpoints_with;
use crate::http::{Client, MODEL};
use crate::processes::Process;
use crate::test_dir::TestDir;

/// Simulated model servers and the endpoints file that lists them.
#[derive(Debug)]
pub struct Fleet {
    /// The name and address of each.
    pods: Vec<(String, String)>,
    file: PathBuf,
    /// What the endpoints file has besides the pool.
    documents: String,
    _process: Process,
}

impl Fleet {
    /// Starts `count` pods, of the profile `linear` (`docs/MODELSIM.md`) unless `more` flags change it, and
    /// lists all of them.
    ///
    /// # Errors
    /// Fails when they do not become ready.
    pub async fn start(dir: &TestDir, count: usize, more: &[&str]) -> anyhow::Result<Self> {
        let count = count.to_string();
        let flags =
            ["--listen", "127.0.0.1:0", "--name", "pod", "--model", MODEL, "--output", "json", "--pods"];
        let flags = [&flags[..], &[count.as_str()], more].concat();
        let (process, ready) = Process::start_ready(dir, "signalbox-modelsim", "pods", &flags).await?;
        let pods = ready["pods"].as_array().into_iter().flatten().map(|pod| {
            let text =
                |key: &str| pod[key].as_str().map(str::to_owned).context("a pod has no name or address");
            anyhow::Ok((text("name")?, text("address")?))
        });
        let pods = pods.collect::<Result<Vec<_>, _>>()?;
        let file = list(dir, &pods, "")?;
        Ok(Self { pods, file, documents: String::new(), _process: process })
    }

    /// Lists all pods, with these documents from now on.
    ///
    /// # Errors
    /// Fails when the endpoints file cannot be written.
    pub fn add_documents(&mut self, dir: &TestDir, documents: &str) -> anyhow::Result<()> {
        self.documents.push_str(documents);
        self.list_without(dir, 0)
    }

    /// Returns the endpoints file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Returns the name and address of each pod, listed or not.
    pub fn pods(&self) -> &[(String, String)] {
        &self.pods
    }

    /// Returns the number of pods, listed or not.
    pub fn count(&self) -> usize {
        self.pods.len()
    }

    /// Replaces the faults of the pod at `index` (`docs/CHAOS.md`).
    ///
    /// # Errors
    /// Fails when there is no such pod, or it does not accept the faults.
    pub async fn set_faults(&self, client: &Client, index: usize, faults: &Value) -> anyhow::Result<()> {
        let (_, address) = self.pods.get(index).with_context(|| format!("there is no pod {index}"))?;
        client.post(&format!("http://{address}/admin/faults"), faults.to_string()).await?.ok()?;
        Ok(())
    }

    /// Lists all pods except the last `out`, which keep running.
    ///
    /// # Errors
    /// Fails when the endpoints file cannot be written.
    pub fn list_without(&self, dir: &TestDir, out: usize) -> anyhow::Result<()> {
        list(dir, &self.pods[..self.pods.len().saturating_sub(out)], &self.documents)?;
        Ok(())
    }
}

fn list(dir: &TestDir, pods: &[(String, String)], documents: &str) -> anyhow::Result<PathBuf> {
    let pods = pods.iter().map(|(name, address)| (name.as_str(), address.as_str()));
    write_endpoints_with(dir, pods, documents)
}
