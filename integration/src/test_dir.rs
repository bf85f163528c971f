//! Provides a temporary directory for each test.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use anyhow::{Context, ensure};

use crate::wait::eventually;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// How many lines of each log are printed when a test fails.
const TAIL_LINES: usize = 30;

/// A directory below the build directory. It is removed when dropped, unless the test failed: then the ends
/// of its logs are printed.
#[derive(Debug)]
pub struct TestDir {
    path: PathBuf,
    is_kept: AtomicBool,
}

impl TestDir {
    /// Creates an empty directory.
    ///
    /// # Errors
    /// Fails when the directory cannot be created.
    pub fn new() -> anyhow::Result<Self> {
        let parent = target()?.join("tmp");
        fs::create_dir_all(&parent).with_context(|| format!("cannot create {}", parent.display()))?;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(format!("cluster-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                // Process IDs repeat: over time, and in PID namespaces.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => {
                    created.with_context(|| format!("cannot create {}", path.display()))?;
                    return Ok(Self { path, is_kept: AtomicBool::new(false) });
                }
            }
        }
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the directory when this is dropped, for a person to look at.
    pub fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
    }

    /// Waits until the log `NAME.log` has a line that contains all of `parts`.
    ///
    /// # Errors
    /// Fails with the log when no such line appears in time.
    pub async fn wait_for_log(&self, name: &str, parts: &[&str]) -> anyhow::Result<()> {
        let log = self.path.join(format!("{name}.log"));
        let check = async || {
            let text = fs::read_to_string(&log)?;
            ensure!(text.lines().any(|line| parts.iter().all(|part| line.contains(part))), "{text}");
            Ok(())
        };
        eventually(&format!("{name} logs {parts:?}"), check).await
    }

    /// Returns the ends of all logs in the directory.
    pub fn tails(&self) -> String {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs.sort();
        let tails = logs.iter().map(|log| format!("--- {}\n{}\n", log.display(), tail(log)));
        tails.collect()
    }
}

/// Returns the last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

impl Drop for TestDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.tails());
        } else if !self.is_kept.load(Ordering::Relaxed) {
            // A failure leaves the directory below the build directory, where it does no harm.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Returns the directory where cargo puts the binaries of the current profile. Test binaries are in `deps`
/// below it.
pub(crate) fn profile() -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe().context("cannot find the path of the running binary")?;
    let folder = running.parent().context("the running binary was not built by cargo")?;
    let folder = if folder.ends_with("deps") { folder.parent() } else { Some(folder) };
    Ok(folder.context("the running binary was not built by cargo")?.to_owned())
}

/// Returns the build directory.
///
/// # Errors
/// Fails when the running binary was not built by cargo.
pub fn target() -> anyhow::Result<PathBuf> {
    Ok(profile()?.parent().context("the running binary was not built by cargo")?.to_owned())
}
