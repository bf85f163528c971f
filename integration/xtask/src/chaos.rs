//! `cargo xtask chaos`: the suite of faults.

use std::process::Command;

use anyhow::{Context, bail};

use crate::tools::TOOLS;
use crate::workspace::Workspace;

/// What the suite starts, and the suite itself.
const PACKAGES: [&str; 5] =
    ["signalbox-aggregator", "signalbox-collector", "signalbox-epp", "signalbox-modelsim", "signalbox-chaos"];

/// Builds everything for release and runs the suite with `arguments`.
pub(crate) fn run(arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    let mut build = workspace.cargo(&["build", "--release", "--locked", "--bins"]);
    build.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    let status = build.status().context("cargo does not start")?;
    if !status.success() {
        bail!("the suite cannot be built: {status}");
    }
    let status = suite("release", workspace)?.args(arguments).status().context("the suite does not start")?;
    if !status.success() {
        bail!("not all rows passed: {status}");
    }
    Ok(())
}

/// The suite as it was built in a profile's folder, without arguments.
pub(crate) fn suite(profile: &str, workspace: &Workspace) -> anyhow::Result<Command> {
    let mut suite = Command::new(workspace.target().join(profile).join("signalbox-chaos"));
    for tool in TOOLS {
        suite.env(tool.variable, tool.prepare(workspace.target())?);
    }
    Ok(suite)
}
