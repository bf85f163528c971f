//! `cargo xtask fuzz`: bytes without sense.

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// Builds what makes them and runs it with `arguments`.
pub(crate) fn run(arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    let mut command =
        workspace.cargo(&["run", "--quiet", "--release", "--locked", "--package", "signalbox-fuzz", "--"]);
    let status = command.args(arguments).status().context("cargo does not start")?;
    if !status.success() {
        bail!("something was found: {status}");
    }
    Ok(())
}
