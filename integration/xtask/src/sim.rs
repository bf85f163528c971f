//! `cargo xtask sim`: seeds by the thousand.

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// Runs `seeds` seeds, the first one `from`.
pub(crate) fn run(seeds: u64, from: u64, keep_going: bool, workspace: &Workspace) -> anyhow::Result<()> {
    let mut command =
        workspace.cargo(&["run", "--quiet", "--release", "--locked", "--package", "signalbox-sim", "--"]);
    command.args(["--seeds", &seeds.to_string(), "--from", &from.to_string()]);
    if keep_going {
        command.arg("--keep-going");
    }
    let status = command.status().context("cargo does not start")?;
    if !status.success() {
        bail!("the simulation failed: {status}");
    }
    Ok(())
}
