//! Runs the steps of `cargo xtask test`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;

use crate::kubernetes_tools;
use crate::suite::Suite;
use crate::tools::TOOLS;
use crate::workspace::Workspace;

/// One step of `cargo xtask test`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// Download Envoy and etcd for the end-to-end tests, into Python venvs below the build directory
    Tools,
    /// Check the formatting (cargo fmt --check)
    Fmt,
    /// Check the lints (cargo clippy, warnings denied)
    Clippy,
    /// Build all binaries and tests
    Build,
    /// Build or download what the Kubernetes tests start, into $SIGNALBOX_CACHE or ~/.cache/signalbox
    KubernetesTools,
    /// Run all tests, end-to-end tests included
    Test,
    /// Run the short failure tests (cargo xtask chaos --short)
    Chaos,
    /// Check the dependency rules (cargo deny, if it is installed)
    Deny,
}

/// All steps, cheap ones that may fail first.
const ALL: [Step; 8] = [
    Step::Tools,
    Step::Fmt,
    Step::Clippy,
    Step::Build,
    Step::KubernetesTools,
    Step::Test,
    Step::Chaos,
    Step::Deny,
];

/// A part of the tests that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The tests on a real Kubernetes control plane, which takes minutes to build once per machine
    Kubernetes,
}

impl Part {
    /// The package with the tests.
    fn package(self) -> &'static str {
        match self {
            Self::Kubernetes => "signalbox-kubernetes-tests",
        }
    }

    /// The step that only this part needs.
    fn step(self) -> Step {
        match self {
            Self::Kubernetes => Step::KubernetesTools,
        }
    }
}

/// The outcome of a step that did not fail.
enum Outcome {
    Done,
    Skipped(&'static str),
}

/// Runs the step `only` and the steps that it needs, or all steps, without some parts. Stops at the first failure.
pub(crate) fn run(only: Option<Step>, without: &[Part], workspace: &Workspace) -> anyhow::Result<()> {
    let mut summary = Vec::new();
    for step in sequence(only, without) {
        println!("\n=== {} ===", step.heading());
        let started = Instant::now();
        let outcome = step.run(without, workspace).with_context(|| {
            format!("step {name} failed; repeat it with `cargo xtask test --only {name}`", name = step.name())
        })?;
        let line = summary_line(step, &outcome, started.elapsed());
        println!("--- {line}");
        summary.push(line);
    }
    println!("\n=== all steps passed ===\n{}", summary.join("\n"));
    Ok(())
}

fn sequence(only: Option<Step>, without: &[Part]) -> Vec<Step> {
    let mut steps = match only {
        None => ALL.to_vec(),
        Some(Step::Test) => vec![Step::Tools, Step::Build, Step::KubernetesTools, Step::Test],
        Some(Step::Chaos) => vec![Step::Tools, Step::Build, Step::Chaos],
        Some(step) => vec![step],
    };
    steps.retain(|step| !without.iter().any(|part| part.step() == *step));
    steps
}

fn summary_line(step: Step, outcome: &Outcome, elapsed: Duration) -> String {
    let name = step.name();
    match outcome {
        Outcome::Done => format!("{name}: {:.1} s", elapsed.as_secs_f64()),
        Outcome::Skipped(why) => format!("{name}: skipped, {why}"),
    }
}

impl Step {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Tools => "download Envoy and etcd for the end-to-end tests",
            Self::Fmt => "check the formatting",
            Self::Clippy => "check the lints",
            Self::Build => "build binaries and tests",
            Self::KubernetesTools => "prepare the control plane, helm and kubectl for the Kubernetes tests",
            Self::Test => "run all tests",
            Self::Chaos => "run the short failure tests",
            Self::Deny => "check the dependency rules",
        }
    }

    fn run(self, without: &[Part], workspace: &Workspace) -> anyhow::Result<Outcome> {
        let mut command = match self {
            Self::Tools => {
                for tool in TOOLS {
                    println!("{}", tool.prepare(workspace.target())?.display());
                }
                return Ok(Outcome::Done);
            }
            Self::KubernetesTools => {
                for link in kubernetes_tools::prepare(workspace)? {
                    println!("{}", link.display());
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
            // One call for binaries and tests, so that dependencies have one set of features and are built
            // once.
            Self::Build => {
                workspace.cargo(&["build", "--locked", "--workspace", "--lib", "--bins", "--tests"])
            }
            Self::Test => {
                let mut test = workspace.cargo(&["test", "--locked", "--workspace", "--no-fail-fast"]);
                for part in without {
                    test.args(["--exclude", part.package()]);
                }
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
                    "cargo-deny is not installed; install it with `cargo install --locked cargo-deny`",
                ));
            }
            // Without advisories: they need internet access. Run `cargo deny check` to include them.
            Self::Deny => workspace.cargo(&["deny", "check", "bans", "licenses", "sources"]),
        };
        let status = command.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("{status}");
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
    fn single_step_includes_the_steps_that_it_needs() {
        let all = [Step::Tools, Step::Build, Step::KubernetesTools, Step::Test];
        assert_eq!(sequence(Some(Step::Test), &[]), all);
        assert_eq!(sequence(Some(Step::Fmt), &[]), [Step::Fmt]);
        assert_eq!(sequence(None, &[]), Step::value_variants());
    }

    #[test]
    fn part_that_is_left_out_needs_no_step() {
        let steps = sequence(Some(Step::Test), &[Part::Kubernetes]);
        assert_eq!(steps, [Step::Tools, Step::Build, Step::Test]);
        assert!(!sequence(None, &[Part::Kubernetes]).contains(&Step::KubernetesTools));
    }
}
