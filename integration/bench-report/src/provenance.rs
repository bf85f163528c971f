//! The commit and the machine of a benchmark run, and the checksum of what it read.

use std::fmt;
use std::fmt::Write;
use std::process::Command;
use std::{fs, thread};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The commit and the machine of a benchmark run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Hash of the commit that was checked out.
    pub commit: String,
    /// Whether tracked files outside of `docs` differed from that commit.
    pub is_modified: bool,
    /// Model name of the CPU.
    pub cpu: String,
    /// Number of logical cores that the benchmark could use.
    pub cores: usize,
}

impl Provenance {
    /// Describes this run. Reads the commit with git from the working directory's repository.
    ///
    /// # Errors
    /// Fails when git cannot be run, or when the working directory is in no repository.
    pub fn collect() -> anyhow::Result<Self> {
        let changes =
            git(&["status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)docs"])?;
        Ok(Self {
            commit: git(&["rev-parse", "HEAD"])?,
            is_modified: !changes.is_empty(),
            cpu: cpu(),
            cores: thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes = if self.is_modified { " with changes" } else { "" };
        let commit = self.commit.get(..12).unwrap_or(&self.commit);
        write!(f, "commit {commit}{changes}, {} cores of {}", self.cores, self.cpu)
    }
}

/// Returns the SHA-256 checksum of `bytes` in hexadecimal digits.
pub fn checksum(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn git(arguments: &[&str]) -> anyhow::Result<String> {
    let command = format!("git {}", arguments.join(" "));
    let output = Command::new("git").args(arguments).output();
    let output =
        output.with_context(|| format!("cannot run {command}; results name their commit, so install git"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command} failed; run the benchmark in a clone of the repository: {errors}"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the CPU's model name as Linux tells it.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown CPU".to_owned(), |(_, name)| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_is_that_of_the_standard() {
        // FIPS 180-4's example "abc".
        assert_eq!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", checksum(b"abc"));
    }

    #[test]
    fn display_shortens_the_commit_and_tells_of_changes() {
        let provenance = Provenance {
            commit: "0123456789abcdef0123".to_owned(),
            is_modified: true,
            cpu: "Example 9000".to_owned(),
            cores: 4,
        };
        assert_eq!("commit 0123456789ab with changes, 4 cores of Example 9000", provenance.to_string());
    }
}
