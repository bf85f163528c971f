//! Runs helm.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::process::Command;

use crate::command::output;
use crate::tools::tool;

/// The major version of helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelmVersion {
    /// Helm 3.
    V3,
    /// Helm 4.
    V4,
}

/// helm, with the access that a kubeconfig gives.
#[derive(Clone, Debug)]
pub struct Helm {
    binary: PathBuf,
    /// Keeps helm's settings, caches and plugins out of the user's folders.
    home: PathBuf,
    kubeconfig: Option<PathBuf>,
}

impl Helm {
    /// Uses a kubeconfig, or none for `template` and `lint`. helm keeps its own files in `home`.
    ///
    /// # Errors
    /// Fails when helm was not prepared.
    pub fn new(version: HelmVersion, home: &Path, kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let name = match version {
            HelmVersion::V3 => "helm3",
            HelmVersion::V4 => "helm",
        };
        Ok(Self { binary: tool(name)?, home: home.to_owned(), kubeconfig: kubeconfig.map(Path::to_owned) })
    }

    /// Runs helm with `values` as the values file on standard input, and returns what it printed.
    ///
    /// # Errors
    /// Fails with helm's message.
    pub async fn run(&self, arguments: &[&str], values: &Value) -> anyhow::Result<String> {
        let mut command = Command::new(&self.binary);
        let folders = ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"];
        command.args(arguments).envs(folders.map(|name| (name, self.home.join("helm").join(name))));
        if let Some(kubeconfig) = &self.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        if !values.is_null() {
            command.args(["--values", "-"]);
        }
        output(&mut command, &values.to_string()).await
    }
}
