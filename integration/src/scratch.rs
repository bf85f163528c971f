//! A folder of a test's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, ensure};

use crate::wait::eventually;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Lines of a log that are shown when a test fails.
const TAIL_LINES: usize = 30;

/// A folder below the build folder. Removed when dropped, unless the test failed: then it shows the ends of the logs in it.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    kept: AtomicBool,
}

impl Scratch {
    /// A new, empty one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = target()?.join("tmp").join(format!("site-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, kept: AtomicBool::new(false) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it behind, for a person to look at.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Waits until a log, `NAME.log`, has a line with all of `parts` in it.
    ///
    /// # Errors
    /// When that does not come to pass; with the log.
    pub async fn logs(&self, name: &str, parts: &[&str]) -> anyhow::Result<()> {
        let log = self.path.join(format!("{name}.log"));
        let check = async || {
            let text = fs::read_to_string(&log)?;
            ensure!(text.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{text}");
            Ok(())
        };
        eventually(&format!("{name} logs {parts:?}"), check).await
    }

    /// The ends of all logs in it.
    pub(crate) fn tails(&self) -> String {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        let tails = logs.iter().map(|log| format!("--- {}\n{}\n", log.display(), tail(log)));
        tails.collect()
    }
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.tails());
        } else if !self.kept.load(Ordering::Relaxed) {
            // What is left behind is in the build folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// The folder where cargo puts binaries of the profile that this is built in: they are in it, tests in `deps` below it.
pub(crate) fn profile() -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe().context("what runs has no path")?;
    let folder = running.parent().context("what runs was not built by cargo")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(folder.context("what runs was not built by cargo")?.to_owned())
}

/// The build folder.
pub(crate) fn target() -> anyhow::Result<PathBuf> {
    Ok(profile()?.parent().context("the test was not built by cargo")?.to_owned())
}
