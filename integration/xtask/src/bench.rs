//! `cargo xtask bench`: benchmarks, built for release.

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::workspace::Workspace;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// What becomes of the same requests under different policies
    Routing,
    /// What a decision costs
    Decide,
    /// The prefix index beside others
    Index,
}

impl Bench {
    /// Builds and runs it with `arguments`.
    pub(crate) fn run(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        let mut command = workspace.cargo(&["run", "--quiet", "--release", "--locked"]);
        match self {
            Self::Routing => command.args(["--package", "signalbox-bench", "--", "routing"]),
            Self::Decide => command.args(["--package", "signalbox-bench", "--", "decide"]),
            // What it is compared with is a workspace of its own, so that the tests never compile it.
            Self::Index => command.args(["--manifest-path", "integration/bench-index/Cargo.toml", "--"]),
        };
        let status = command.args(arguments).status().context("cargo does not start")?;
        if !status.success() {
            bail!("the benchmark failed: {status}");
        }
        Ok(())
    }
}
