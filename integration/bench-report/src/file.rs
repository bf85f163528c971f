//! Files with the results of benchmarks.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Reads the results of the benchmark `name`.
///
/// # Errors
/// Fails when the file cannot be read, or is no report of that benchmark.
pub fn read_report<T: DeserializeOwned>(path: &Path, name: &str) -> anyhow::Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is no report of `{name}`", path.display()))
}

/// Writes results as JSON.
///
/// # Errors
/// Fails when the file cannot be written.
pub fn write_report(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    write_text(path, &serde_json::to_string_pretty(report)?)
}

/// Writes results that are JSON already, and end with a line break then.
///
/// # Errors
/// Fails when the file cannot be written.
pub fn write_text(path: &Path, json: &str) -> anyhow::Result<()> {
    fs::write(path, format!("{json}\n")).with_context(|| format!("cannot write {}", path.display()))
}
