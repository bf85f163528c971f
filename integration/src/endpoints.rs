//! The endpoints file.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use crate::scratch::Scratch;

/// The pool that tests are about, in namespace `default`.
const POOL: &str = "llama3";

/// Writes the endpoints file of the tests' pool with these, name and address of each, and returns where it is. Replaced as a whole:
/// nobody reads half of it.
///
/// # Errors
/// When it cannot be written.
pub fn write_endpoints<'a>(
    scratch: &Scratch,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<PathBuf> {
    write_pool(scratch, POOL, endpoints)
}

/// Adds more documents to the endpoints file at `path`.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn add_documents(path: &Path, documents: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(path)? + documents;
    let fresh = path.with_extension("more");
    fs::write(&fresh, text)?;
    fs::rename(fresh, path)?;
    Ok(())
}

/// As [`write_endpoints`], of the pool with this name in namespace `default`.
///
/// # Errors
/// As [`write_endpoints`].
pub fn write_pool<'a>(
    scratch: &Scratch,
    pool: &str,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<PathBuf> {
    let mut text =
        format!("apiVersion: signalbox/v1\nkind: Endpoints\npool: {{ name: {pool}, namespace: default }}\n");
    let mut endpoints = endpoints.into_iter().peekable();
    text.push_str(if endpoints.peek().is_some() { "endpoints:\n" } else { "endpoints: []\n" });
    for (name, address) in endpoints {
        writeln!(text, "- {{ name: {name}, address: {address}, engine: vllm }}")?;
    }
    let of = |extension: &str| scratch.path().join(format!("endpoints-{pool}.{extension}"));
    fs::write(of("new"), text)?;
    fs::rename(of("new"), of("yaml"))?;
    Ok(of("yaml"))
}
