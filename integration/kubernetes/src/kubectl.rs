//! Runs kubectl.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;
use tokio::process::Command;

use crate::command::output;
use crate::tools::tool;

/// kubectl with the access that a kubeconfig gives.
#[derive(Clone, Debug)]
pub struct Kubectl {
    binary: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// Uses a kubeconfig.
    ///
    /// # Errors
    /// Fails when kubectl was not downloaded.
    pub fn new(kubeconfig: &Path) -> anyhow::Result<Self> {
        Ok(Self { binary: tool("kubectl")?, kubeconfig: kubeconfig.to_owned() })
    }

    /// Returns the kubeconfig.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Returns the path of the program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs kubectl and returns what it printed.
    ///
    /// # Errors
    /// Fails with kubectl's message.
    pub async fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.run_with_input(arguments, "").await
    }

    /// Creates or changes the objects of a manifest: YAML or JSON documents.
    ///
    /// # Errors
    /// Fails with kubectl's message.
    pub async fn apply(&self, manifest: &str) -> anyhow::Result<String> {
        self.run_with_input(&["apply", "--filename", "-"], manifest).await
    }

    /// Like [`Kubectl::apply`], for objects that name no namespace.
    ///
    /// # Errors
    /// Fails with kubectl's message.
    pub async fn apply_in(&self, namespace: &str, manifest: &str) -> anyhow::Result<String> {
        self.run_with_input(&["--namespace", namespace, "apply", "--filename", "-"], manifest).await
    }

    /// Returns what `kubectl get ARGUMENTS` finds.
    ///
    /// # Errors
    /// Fails with kubectl's message.
    pub async fn get(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let text = self.run(&[&["get", "--output", "json"], arguments].concat()).await?;
        serde_json::from_str(&text).context("kubectl printed no JSON")
    }

    async fn run_with_input(&self, arguments: &[&str], input: &str) -> anyhow::Result<String> {
        let mut command = Command::new(&self.binary);
        command.arg("--kubeconfig").arg(&self.kubeconfig).args(arguments);
        output(&mut command, input).await
    }
}
