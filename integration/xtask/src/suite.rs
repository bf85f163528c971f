//! Suites that start the services' binaries.

use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::TOOLS;
use crate::workspace::Workspace;

/// What they start.
const SERVICES: [&str; 4] =
    ["signalbox-aggregator", "signalbox-collector", "signalbox-epp", "signalbox-modelsim"];

/// A suite: a package with a binary of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Faults under load.
    Chaos,
    /// Coherence of replicas, measured.
    Coherence,
}

impl Suite {
    fn package(self) -> &'static str {
        match self {
            Self::Chaos => "signalbox-chaos",
            Self::Coherence => "signalbox-coherence",
        }
    }

    /// Builds everything for release and runs the suite with `arguments`.
    pub(crate) fn run(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        let mut build = workspace.cargo(&["build", "--release", "--locked", "--bins"]);
        let packages = SERVICES.into_iter().chain([self.package()]);
        build.args(packages.flat_map(|package| ["--package", package]));
        let status = build.status().context("cargo does not start")?;
        if !status.success() {
            bail!("the suite cannot be built: {status}");
        }
        let mut suite = self.command("release", workspace)?;
        let status = suite.args(arguments).status().context("the suite does not start")?;
        if !status.success() {
            bail!("{} failed: {status}", self.package());
        }
        Ok(())
    }

    /// The suite as it was built in a profile's folder, without arguments.
    pub(crate) fn command(self, profile: &str, workspace: &Workspace) -> anyhow::Result<Command> {
        let mut suite = Command::new(workspace.target().join(profile).join(self.package()));
        for tool in TOOLS {
            suite.env(tool.variable, tool.prepare(workspace.target())?);
        }
        Ok(suite)
    }
}
