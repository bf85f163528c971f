//! Runs `cargo xtask sim`.

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// Runs `seeds` seeds of the simulation, starting with `from`.
pub(crate) fn run(seeds: u64, from: u64, keep_going: bool, workspace: &Workspace) -> anyhow::Result<()> {
    let mut command =
        workspace.cargo(&["run", "--quiet", "--release", "--locked", "--package", "signalbox-sim", "--"]);
    command.args(["--seeds", &seeds.to_string(), "--from", &from.to_string()]);
    if keep_going {
        command.arg("--keep-going");
    }
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the simulation failed: {status}");
    }
    Ok(())
}
