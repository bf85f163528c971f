//! Runs `cargo xtask bench`.

use std::process::Command;

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::suite::Suite;
use crate::workspace::Workspace;

/// Chooses the package with the benchmarks that need no other process.
const PACKAGE: &str = "--package=signalbox-bench";

/// Chooses the workspace of the benchmark of prefix indexes. It is separate, so that the tests never compile the
/// other implementations.
const INDEX: &str = "--manifest-path=integration/bench-index/Cargo.toml";

/// Chooses the half of the measurement of coherence that runs in virtual time.
const VIRTUAL: [&str; 3] = [PACKAGE, "--", "coherence"];

/// How the image is built, and the settings that its programs run with.
const IMAGE: &str = include_str!("../../../Dockerfile");

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bench {
    /// Compare routing policies on the same requests
    Routing,
    /// Measure the cost of a decision
    Decide,
    /// Measure the CPU time of a large pool's owner, its streams and a replica, in virtual time
    ScaleOut,
    /// Compare the prefix index with other implementations
    Index,
    /// Measure whether replicas decide as one: in virtual time and with real processes, or only --virtual or
    /// --real
    Coherence,
    /// Compare flow control with none and with that of the Go EPP, in virtual time
    Flow,
    /// Compare the autoscaling signal with recipes for KEDA and with a plan that knows the future, in virtual time
    Scale,
    /// Compare the cost of many small pools with that of a large one, with real processes
    Pools,
    /// Measure how soon waiting requests get free places, and what they cost, with real processes
    Queue,
    /// Measure how much large bodies delay other requests of the same connection, with real processes and Envoy
    LargeBodies,
    /// Measure what the questions of autoscalers cost the owner of a pool, and whether they hold it up, with real processes
    Questions,
    /// Measure nothing: write the tables of the pages in docs from the results in docs/results
    Tables,
}

impl Bench {
    /// Builds the benchmark and runs it with `arguments`.
    pub(crate) fn run(self, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
        match self {
            Self::Routing => run_binary(&[PACKAGE, "--", "routing"], arguments, workspace),
            Self::Decide => run_binary(&[PACKAGE, "--", "decide"], arguments, workspace),
            Self::Flow => run_binary(&[PACKAGE, "--", "flow"], arguments, workspace),
            Self::Scale => run_binary(&[PACKAGE, "--", "scale"], arguments, workspace),
            Self::ScaleOut => run_as_in_image(&[PACKAGE, "--", "scale-out"], arguments, workspace),
            Self::Index => {
                // It starts its other program, which measures memory.
                build(&[INDEX, "--bins"], workspace)?;
                run_binary(&[INDEX, "--"], arguments, workspace)
            }
            Self::Coherence => run_coherence(arguments, workspace),
            Self::Pools => run_measurement("pools", arguments, workspace),
            Self::Queue => run_measurement("queue", arguments, workspace),
            Self::LargeBodies => run_measurement("large-bodies", arguments, workspace),
            Self::Questions => run_measurement("questions", arguments, workspace),
            Self::Tables => run_binary(&[PACKAGE, "--", "tables"], arguments, workspace),
        }
    }
}

/// Builds what `choice` chooses.
fn build(choice: &[&str], workspace: &Workspace) -> anyhow::Result<()> {
    let mut command = workspace.cargo(&["build", "--quiet", "--release", "--locked"]);
    let status = command.args(choice).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the benchmark does not build: {status}");
    }
    Ok(())
}

/// Builds a binary, which `choice` chooses, and runs it with `arguments`.
fn run_binary(choice: &[&str], arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    run(workspace.cargo(&["run", "--quiet", "--release", "--locked"]), choice, arguments)
}

/// Does the same with the memory settings of the image, unless the environment has others.
fn run_as_in_image(choice: &[&str], arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    let line = IMAGE.lines().find_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    let (name, settings) = line.context("the Dockerfile has no line `ENV GLIBC_TUNABLES=...`: add it")?;
    build(&choice[..1], workspace)?;
    let mut command = workspace.cargo(&["run", "--quiet", "--release", "--locked"]);
    if std::env::var_os(name).is_none() {
        command.env(name, settings);
    }
    run(command, choice, arguments)
}

fn run(mut command: Command, choice: &[&str], arguments: &[String]) -> anyhow::Result<()> {
    let status = command.args(choice).args(arguments).status().context("cannot start cargo")?;
    if !status.success() {
        bail!("the benchmark failed: {status}");
    }
    Ok(())
}

/// Runs one measurement with real processes.
fn run_measurement(name: &str, arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    let only = ["--only", name].map(str::to_owned);
    Suite::Coherence.run(&[&only, arguments].concat(), workspace)
}

/// Runs the half of the benchmark that the first argument names, with the other arguments; both halves
/// without arguments.
fn run_coherence(arguments: &[String], workspace: &Workspace) -> anyhow::Result<()> {
    match arguments.split_first() {
        None => {
            run_binary(&VIRTUAL, &[], workspace)?;
            Suite::Coherence.run(&[], workspace)
        }
        Some((half, rest)) if half == "--virtual" => run_binary(&VIRTUAL, rest, workspace),
        Some((half, rest)) if half == "--real" => Suite::Coherence.run(rest, workspace),
        Some(_) => {
            bail!("the first argument must be --virtual or --real; the arguments after it go to that half")
        }
    }
}
