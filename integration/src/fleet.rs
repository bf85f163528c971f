//! Model servers in one process, a port each.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::endpoints::write_endpoints;
use crate::process::Process;
use crate::prompt::MODEL;
use crate::scratch::Scratch;

/// The model servers, and the file that lists them.
#[derive(Debug)]
pub struct Fleet {
    /// Name and address of each.
    pods: Vec<(String, String)>,
    file: PathBuf,
    _process: Process,
}

impl Fleet {
    /// Starts so many, as fast as an 8B model on one H100 unless `more` flags say otherwise, and lists them all.
    ///
    /// # Errors
    /// When they do not get ready.
    pub async fn start(scratch: &Scratch, count: usize, more: &[&str]) -> anyhow::Result<Self> {
        let count = count.to_string();
        let flags =
            ["--listen", "127.0.0.1:0", "--name", "pod", "--model", MODEL, "--output", "json", "--pods"];
        let flags = [&flags[..], &[count.as_str()], more].concat();
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

    /// The file that lists them.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Name and address of each, listed or not.
    pub fn pods(&self) -> &[(String, String)] {
        &self.pods
    }

    /// How many there are, listed or not.
    pub fn count(&self) -> usize {
        self.pods.len()
    }

    /// Lists all but the last `out`, which go on serving what they have.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn list_without(&self, scratch: &Scratch, out: usize) -> anyhow::Result<()> {
        list(scratch, &self.pods[..self.pods.len().saturating_sub(out)])?;
        Ok(())
    }
}

fn list(scratch: &Scratch, pods: &[(String, String)]) -> anyhow::Result<PathBuf> {
    write_endpoints(scratch, pods.iter().map(|(name, address)| (name.as_str(), address.as_str())))
}
