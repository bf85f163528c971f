//! Runs `cargo xtask bench`.

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::suite::Suite;
use crate::workspace::Workspace;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Compare routing policies on the same requests
    Routing,
    /// Measure the cost of a decision
    Decide,
    /// Compare the prefix index with other implementations
    Index,
    /// Measure whether replicas decide as one: in virtual time and with real processes, or only --virtual or
    /// --real
    Coherence,
}

impl Bench {
    /// Builds the benchmark and runs it with `arguments`.
    pub(crate) fn run(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        if self == Self::Coherence {
            return run_coherence(arguments, workspace);
        }
        self.run_binary(arguments, workspace)
    }

    fn run_binary(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        let mut command = workspace.cargo(&["run", "--quiet", "--release", "--locked"]);
        match self {
            Self::Routing => command.args(["--package", "signalbox-bench", "--", "routing"]),
            Self::Decide => command.args(["--package", "signalbox-bench", "--", "decide"]),
            Self::Coherence => command.args(["--package", "signalbox-bench", "--", "coherence"]),
            // A separate workspace, so that the tests never compile the other implementations.
            Self::Index => command.args(["--manifest-path", "integration/bench-index/Cargo.toml", "--"]),
        };
        let status = command.args(arguments).status().context("cannot start cargo")?;
        if !status.success() {
            bail!("the benchmark failed: {status}");
        }
        Ok(())
    }
}

/// Runs the half of the benchmark that the first argument names, with the other arguments; both halves
/// without arguments.
fn run_coherence(arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    match arguments.split_first() {
        None => {
            Bench::Coherence.run_binary(&[], workspace)?;
            Suite::Coherence.run(&[], workspace)
        }
        Some((half, rest)) if half == "--virtual" => Bench::Coherence.run_binary(rest, workspace),
        Some((half, rest)) if half == "--real" => Suite::Coherence.run(rest, workspace),
        Some(_) => {
            bail!("the first argument must be --virtual or --real; the arguments after it go to that half")
        }
    }
}
