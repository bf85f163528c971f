//! The steps of `cargo xtask test`, in their order.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::suite::Suite;
use crate::tools::TOOLS;
use crate::workspace::Workspace;

/// One step of `cargo xtask test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Envoy and etcd for the end-to-end tests, in Python venvs below the build folder
    Tools,
    /// cargo fmt --check
    Fmt,
    /// cargo clippy with warnings denied
    Clippy,
    /// All binaries and tests
    Build,
    /// All tests
    Test,
    /// The short form of `cargo xtask chaos`
    Chaos,
    /// cargo deny, where it is installed
    Deny,
}

/// What is cheap and may fail comes first.
const ALL: [Step; 7] =
    [Step::Tools, Step::Fmt, Step::Clippy, Step::Build, Step::Test, Step::Chaos, Step::Deny];

/// What became of a step that did not fail.
enum Outcome {
    Done,
    Skipped(&'static str),
}

/// Runs `only` and what it needs, or everything; stops at the first failure.
pub(crate) fn run(only: Option<Step>, workspace: &Workspace) -> anyhow::Result<()> {
    let mut summary = Vec::new();
    for step in sequence(only) {
        println!("\n=== {} ===", step.heading());
        let started = Instant::now();
        let outcome = step.run(workspace).with_context(|| format!("step {}", step.name()))?;
        let line = summary_line(step, &outcome, started.elapsed());
        println!("--- {line}");
        summary.push(line);
    }
    println!("\n=== all passed ===\n{}", summary.join("\n"));
    Ok(())
}

fn sequence(only: Option<Step>) -> Vec<Step> {
    match only {
        None => ALL.to_vec(),
        Some(step @ (Step::Test | Step::Chaos)) => vec![Step::Tools, Step::Build, step],
        Some(step) => vec![step],
    }
}

fn summary_line(step: Step, outcome: &Outcome, took: Duration) -> String {
    let name = step.name();
    match outcome {
        Outcome::Done => format!("{name}: {:.1} s", took.as_secs_f64()),
        Outcome::Skipped(why) => format!("{name}: skipped, {why}"),
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Tools => "Envoy and etcd for the end-to-end tests",
            Self::Fmt => "formatting",
            Self::Clippy => "lints",
            Self::Build => "building binaries and tests",
            Self::Test => "tests",
            Self::Chaos => "faults",
            Self::Deny => "dependency rules",
        }
    }

    fn run(self, workspace: &Workspace) -> anyhow::Result<Outcome> {
        let mut command = match self {
            Self::Tools => {
                for tool in TOOLS {
                    println!("{}", tool.prepare(workspace.target())?.display());
                }
                return Ok(Outcome::Done);
            }
            Self::Fmt => workspace.cargo(&["fmt", "--all", "--check"]),
            Self::Clippy => workspace.cargo(&[
                "clippy",
                "--locked",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
            // With the tests in the same call, dependencies get one set of features and are built once.
            Self::Build => {
                workspace.cargo(&["build", "--locked", "--workspace", "--lib", "--bins", "--tests"])
            }
            Self::Test => {
                let mut test = workspace.cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
                for tool in TOOLS {
                    test.env(tool.variable, tool.prepare(workspace.target())?);
                }
                test
            }
            Self::Chaos => {
                let mut suite = Suite::Chaos.command("debug", workspace)?;
                suite.arg("--short");
                suite
            }
            Self::Deny if !succeeds(workspace.cargo(&["deny", "--version"])) => {
                return Ok(Outcome::Skipped(
                    "cargo-deny is not installed (cargo install --locked cargo-deny)",
                ));
            }
            // Advisories are fetched from the internet, which the tests do without: `cargo deny check` asks for them too.
            Self::Deny => workspace.cargo(&["deny", "check", "bans", "licenses", "sources"]),
        };
        let status = command.status().context("cargo does not start")?;
        if !status.success() {
            bail!("failed: {status}");
        }
        Ok(Outcome::Done)
    }
}

fn succeeds(mut command: Command) -> bool {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_alone_still_get_what_they_need() {
        assert_eq!(sequence(Some(Step::Test)), [Step::Tools, Step::Build, Step::Test]);
        assert_eq!(sequence(Some(Step::Fmt)), [Step::Fmt]);
        assert_eq!(sequence(None), Step::value_variants());
    }
}
