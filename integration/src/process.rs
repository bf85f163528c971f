//! A process that does not outlive its test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::scratch::{Scratch, profile, tail};
use crate::wait::eventually;

/// What a process may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Asks it to end, as Ctrl-C does.
    Interrupt,
    /// Asks it to end, as Kubernetes does.
    Terminate,
    /// It stands still, and whoever talks to it hears nothing.
    Stop,
    /// It goes on where it stood still.
    Continue,
}

impl Signal {
    /// As `kill` takes it.
    fn flag(self) -> &'static str {
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
    /// Starts a binary of the workspace and waits for the line of JSON that it prints once ready.
    ///
    /// # Errors
    /// When the binary is not built, does not start, or ends before it is ready.
    pub async fn ready(
        scratch: &Scratch,
        binary: &str,
        name: &str,
        arguments: &[&str],
    ) -> anyhow::Result<(Self, Value)> {
        let mut process = Self::start(scratch, name, &built(binary)?, arguments)?;
        let line = eventually(&format!("{name} gets ready"), async || process.first_line()).await??;
        let ready = serde_json::from_str(&line).with_context(|| format!("{name} printed {line}"))?;
        Ok((process, ready))
    }

    /// Starts any binary.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(
        scratch: &Scratch,
        name: &str,
        binary: &Path,
        arguments: &[impl AsRef<OsStr>],
    ) -> anyhow::Result<Self> {
        let (output, log) =
            (scratch.path().join(format!("{name}.out")), scratch.path().join(format!("{name}.log")));
        let mut command = Command::new(binary);
        command.args(arguments).stdin(Stdio::null());
        command.stdout(File::create(&output)?).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("{} does not start", binary.display()))?;
        Ok(Self { name: name.to_owned(), child, output, log })
    }

    /// The outer error says that there is none yet, the inner one that there will be none.
    fn first_line(&mut self) -> anyhow::Result<anyhow::Result<String>> {
        // In this order: what it wrote before it ended is there to be read.
        let ended = self.child.try_wait()?;
        let text = fs::read_to_string(&self.output)?;
        match (text.split_once('\n'), ended) {
            (Some((line, _)), _) => Ok(Ok(line.to_owned())),
            (None, Some(status)) => {
                Ok(Err(anyhow::anyhow!("{} ended: {status}\n{}", self.name, tail(&self.log))))
            }
            (None, None) => bail!("it has printed nothing yet"),
        }
    }

    /// Kills it as the kernel would, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn send(&self, signal: Signal) -> anyhow::Result<()> {
        let sent = Command::new("kill").args([signal.flag(), &self.child.id().to_string()]).status()?;
        ensure!(sent.success(), "{} cannot be sent a signal", self.name);
        Ok(())
    }

    /// Asks it to end and waits until it does.
    ///
    /// # Errors
    /// When it does not end within a minute.
    pub async fn end(mut self, signal: Signal) -> anyhow::Result<ExitStatus> {
        self.send(signal)?;
        let name = self.name.clone();
        eventually(&format!("{name} ends"), async || self.child.try_wait()?.context("it still runs")).await
    }

    /// All that it printed on standard output so far.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn printed(&self) -> anyhow::Result<String> {
        Ok(fs::read_to_string(&self.output)?)
    }
}

/// Where a binary of the workspace is.
///
/// # Errors
/// When it is not built.
pub fn built(binary: &str) -> anyhow::Result<PathBuf> {
    let path = profile()?.join(binary);
    ensure!(
        path.is_file(),
        "{} is not built: run `cargo xtask test`, or `cargo build --workspace --bins` first",
        path.display()
    );
    Ok(path)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill.
        let _ = self.kill();
    }
}
