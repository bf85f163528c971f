//! Runs `cargo xtask fuzz`.

use anyhow::{Context, bail};

use crate::workspace::Workspace;

/// Builds the fuzzer and runs it with `arguments`.
pub(crate) fn run(arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    let mut command =
        workspace.cargo(&["run", "--quiet", "--release", "--locked", "--package", "signalbox-fuzz", "--"]);
    let status = command.args(arguments).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the fuzzer failed: {status}");
    }
    Ok(())
}
