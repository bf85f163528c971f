//! Writes endpoints files for aggregators.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::test_dir::TestDir;

/// The default pool of the tests, in namespace `default`.
const POOL: &str = "llama3";

/// Writes the endpoints file of the default pool with these endpoints (name and address), and returns its
/// path. The file is replaced atomically, so that no reader sees half of it.
///
/// # Errors
/// Fails when the file cannot be written.
pub fn write_endpoints<'a>(
    dir: &TestDir,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<PathBuf> {
    write_pool(dir, POOL, endpoints)
}

/// Appends documents to the endpoints file at `path`.
///
/// # Errors
/// Fails when the file cannot be written.
pub(crate) fn add_documents(path: &Path, documents: &str) -> anyhow::Result<()> {
    replace(path, fs::read_to_string(path)? + documents)
}

/// Marks the endpoints with these names, and no others, as draining in the endpoints file at `path`.
///
/// # Errors
/// Fails when the file cannot be written.
pub(crate) fn drain_endpoints(path: &Path, names: &[&str]) -> anyhow::Result<()> {
    const DRAINING: &str = " draining: true,";
    let text = fs::read_to_string(path)?.replace(DRAINING, "");
    let drained = names.iter().fold(text, |text, name| {
        let entry = format!("- {{ name: {name},");
        text.replace(&entry, &format!("{entry}{DRAINING}"))
    });
    replace(path, drained)
}

/// Replaces the file at `path` atomically.
fn replace(path: &Path, text: String) -> anyhow::Result<()> {
    let new = path.with_extension("changed");
    fs::write(&new, text)?;
    fs::rename(new, path)?;
    Ok(())
}

/// Like [`write_endpoints`], for the pool `pool` in namespace `default`.
///
/// # Errors
/// Fails when the file cannot be written.
pub fn write_pool<'a>(
    dir: &TestDir,
    pool: &str,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<PathBuf> {
    write_pool_with(dir, pool, endpoints, "")
}

/// Like [`write_endpoints`], with more documents.
///
/// # Errors
/// Fails when the file cannot be written.
pub(crate) fn write_endpoints_with<'a>(
    dir: &TestDir,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
    documents: &str,
) -> anyhow::Result<PathBuf> {
    write_pool_with(dir, POOL, endpoints, documents)
}

fn write_pool_with<'a>(
    dir: &TestDir,
    pool: &str,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
    documents: &str,
) -> anyhow::Result<PathBuf> {
    let mut text =
        format!("apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: {pool}, namespace: default }}\n");
    let mut endpoints = endpoints.into_iter().peekable();
    text.push_str(if endpoints.peek().is_some() { "endpoints:\n" } else { "endpoints: []\n" });
    for (name, address) in endpoints {
        writeln!(text, "- {{ name: {name}, address: {address}, engine: vllm }}")?;
    }
    text.push_str(documents);
    let of = |extension: &str| dir.path().join(format!("endpoints-{pool}.{extension}"));
    fs::write(of("new"), text)?;
    fs::rename(of("new"), of("yaml"))?;
    Ok(of("yaml"))
}
