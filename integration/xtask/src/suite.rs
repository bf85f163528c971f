//! Runs the suites that start the services' binaries.

use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::TOOLS;
use crate::workspace::Workspace;

/// The binaries that the suites start.
const SERVICES: [&str; 4] =
    ["signalbox-aggregator", "signalbox-collector", "signalbox-epp", "signalbox-modelsim"];

/// A suite: a package with a binary of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Failure tests under load.
    Chaos,
    /// Measurements of the coherence of replicas.
    Coherence,
}

impl Suite {
    fn package(self) -> &'static str {
        match self {
            Self::Chaos => "signalbox-chaos",
            Self::Coherence => "signalbox-coherence",
        }
    }

    /// Builds the suite and the services in release mode and runs the suite with `arguments`.
    pub(crate) fn run(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        let mut build = workspace.cargo(&["build", "--release", "--locked", "--bins"]);
        let packages = SERVICES.into_iter().chain([self.package()]);
        build.args(packages.flat_map(|package| ["--package", package]));
        let status = build.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("cannot build {}: {status}", self.package());
        }
        let mut suite = self.command("release", workspace)?;
        let status =
            suite.args(arguments).status().with_context(|| format!("cannot start {}", self.package()))?;
        if !status.success() {
            bail!("{} failed: {status}", self.package());
        }
        Ok(())
    }

    /// Returns the command for the suite's binary of a build profile, without arguments.
    pub(crate) fn command(self, profile: &str, workspace: &Workspace) -> anyhow::Result<Command> {
        let mut suite = Command::new(workspace.target().join(profile).join(self.package()));
        for tool in TOOLS {
            suite.env(tool.variable, tool.prepare(workspace.target())?);
        }
        Ok(suite)
    }
}
