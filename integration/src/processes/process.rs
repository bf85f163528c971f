//! Runs a process that ends with its test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::test_dir::{TestDir, profile, tail};
use crate::wait::eventually;

/// A signal to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, as Ctrl-C sends.
    Interrupt,
    /// SIGTERM, as Kubernetes sends.
    Terminate,
    /// SIGSTOP: the process pauses, and its peers receive nothing.
    Stop,
    /// SIGCONT: a paused process continues.
    Continue,
}

impl Signal {
    /// Returns the flag of `kill`.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Interrupt => "-INT",
            Self::Terminate => "-TERM",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// A process that is killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts a binary of the workspace and waits for the JSON line that it prints when it is ready.
    ///
    /// # Errors
    /// Fails when the binary is not built, does not start, or exits before it is ready.
    pub async fn start_ready(
        dir: &TestDir,
        binary: &str,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, Value)> {
        let mut process = Self::start(dir, name, &built_binary(binary)?, arguments)?;
        let line = eventually(&format!("{name} becomes ready"), async || process.first_line()).await??;
        let ready = serde_json::from_str(&line).with_context(|| format!("{name} printed {line}"))?;
        Ok((process, ready))
    }

    /// Starts any binary.
    ///
    /// # Errors
    /// Fails when it does not start.
    pub fn start(
        dir: &TestDir,
        name: &str,
        binary: &Path,
        arguments: &[impl AsRef<OsStr>],
    ) -> anyhow::Result<Self> {
        let (output, log) = (dir.path().join(format!("{name}.out")), dir.path().join(format!("{name}.log")));
        let mut command = Command::new(binary);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(File::create(&output)?).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot start {}", binary.display()))?;
        Ok(Self { name: name.to_owned(), child, output, log })
    }

    /// Returns the first line of output. The outer error means that there is none yet; the inner one that
    /// there will be none.
    fn first_line(&mut self) -> anyhow::Result<anyhow::Result<String>> {
        // The exit status is read first, so that output written before the exit is not missed.
        let ended = self.child.try_wait()?;
        let text = fs::read_to_string(&self.output)?;
        match (text.split_once('\n'), ended) {
            (Some((line, _)), _) => Ok(Ok(line.to_owned())),
            (None, Some(status)) => {
                Ok(Err(anyhow::anyhow!("{} exited: {status}\n{}", self.name, tail(&self.log))))
            }
            (None, None) => bail!("no output yet"),
        }
    }

    /// Kills it with SIGKILL and waits until it has exited.
    ///
    /// # Errors
    /// Fails when it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Returns its process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// Fails when it has exited.
    pub fn send(&self, signal: Signal) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([signal.flag(), &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "cannot send a signal to {}", self.name);
        Ok(())
    }

    /// Stops it with `signal` and waits until it has exited.
    ///
    /// # Errors
    /// Fails when it does not exit within a minute.
    pub async fn stop(mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        self.send(signal)?;
        let name = self.name.clone();
        eventually(&format!("{name} exits"), async || self.child.try_wait()?.context("still running")).await
    }

    /// Returns its standard output so far.
    ///
    /// # Errors
    /// Fails when the output cannot be read.
    pub fn stdout(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.output)?)
    }
}

/// Returns the path of a binary of the workspace.
///
/// # Errors
/// Fails when it is not built.
pub fn built_binary(binary: &str) -> anyhow::Result<PathBuf> {
    let path = profile()?.join(binary);
    ensure!(
        path.is_file(),
        "{} is not built: run `cargo xtask test`, or first `cargo build --workspace --bins`",
        path.display()
    );
    Ok(path)
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have exited already; then there is nothing to kill.
        let _ = self.kill();
    }
}
