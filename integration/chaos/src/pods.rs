//! The model servers: one process, a port each.

use std::path::PathBuf;

use anyhow::Context;
use signalbox_integration::{MODEL, Process, Scratch, write_endpoints};

/// The model servers, and the file that lists them.
#[derive(Debug)]
pub(crate) struct Pods {
    /// Name and address of each.
    pods: Vec<(String, String)>,
    pub(crate) file: PathBuf,
    _process: Process,
}

impl Pods {
    /// Starts so many, as fast as an 8B model on one H100, and lists them all.
    ///
    /// # Errors
    /// When they do not get ready.
    pub(crate) async fn start(scratch: &Scratch, count: usize) -> anyhow::Result<Self> {
        let count = count.to_string();
        let flags =
            ["--listen", "127.0.0.1:0", "--name", "pod", "--model", MODEL, "--output", "json", "--pods"];
        let flags = [&flags[..], &[count.as_str()]].concat();
        let (process, ready) = Process::ready(scratch, "signalbox-modelsim", "pods", &flags).await?;
        let pods = ready["pods"].as_array().into_iter().flatten().map(|pod| {
            let text =
                |key: &str| pod[key].as_str().map(str::to_owned).context("a pod without name or address");
            anyhow::Ok((text("name")?, text("address")?))
        });
        let pods = pods.collect::<Result<Vec<_>, _>>()?;
        let file = list(scratch, &pods)?;
        Ok(Self { pods, file, _process: process })
    }

    /// How many there are, listed or not.
    pub(crate) fn count(&self) -> usize {
        self.pods.len()
    }

    /// Lists all but the last `out`, which go on serving what they have.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn list_without(&self, scratch: &Scratch, out: usize) -> anyhow::Result<()> {
        list(scratch, &self.pods[..self.pods.len().saturating_sub(out)])?;
        Ok(())
    }
}

fn list(scratch: &Scratch, pods: &[(String, String)]) -> anyhow::Result<PathBuf> {
    write_endpoints(scratch, pods.iter().map(|(name, address)| (name.as_str(), address.as_str())))
}
