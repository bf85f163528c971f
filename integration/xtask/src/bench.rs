//! `cargo xtask bench`: benchmarks, built for release.

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::suite::Suite;
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
    /// Whether replicas act as one: in virtual time and with real processes, or --virtual or --real alone
    Coherence,
}

impl Bench {
    /// Builds and runs it with `arguments`.
    pub(crate) fn run(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        if self == Self::Coherence {
            return coherence(arguments, workspace);
        }
        self.run_alone(arguments, workspace)
    }

    fn run_alone(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        let mut command = workspace.cargo(&["run", "--quiet", "--release", "--locked"]);
        match self {
            Self::Routing => command.args(["--package", "signalbox-bench", "--", "routing"]),
            Self::Decide => command.args(["--package", "signalbox-bench", "--", "decide"]),
            Self::Coherence => command.args(["--package", "signalbox-bench", "--", "coherence"]),
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

/// The half that is named first among `arguments`, with the others; both without arguments.
fn coherence(arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    match arguments.split_first() {
        None => {
            Bench::Coherence.run_alone(&[], workspace)?;
            Suite::Coherence.run(&[], workspace)
        }
        Some((half, rest)) if half == "--virtual" => Bench::Coherence.run_alone(rest, workspace),
        Some((half, rest)) if half == "--real" => Suite::Coherence.run(rest, workspace),
        Some(_) => bail!("arguments are for one half: begin with --virtual or --real"),
    }
}
