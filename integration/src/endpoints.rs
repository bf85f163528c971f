//! The endpoints file.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use crate::scratch::Scratch;

/// Writes the endpoints file with these, name and address of each, and returns where it is. Replaced as a whole: nobody reads half of it.
///
/// # Errors
/// When it cannot be written.
pub fn write_endpoints<'a>(
    scratch: &Scratch,
    endpoints: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> anyhow::Result<PathBuf> {
    let mut text =
        "apiVersion: signalbox/v1\nkind: Endpoints\npool: { name: llama3, namespace: default }\n".to_owned();
    let mut endpoints = endpoints.into_iter().peekable();
    text.push_str(if endpoints.peek().is_some() { "endpoints:\n" } else { "endpoints: []\n" });
    for (name, address) in endpoints {
        writeln!(text, "- {{ name: {name}, address: {address}, engine: vllm }}")?;
    }
    let (fresh, path) = (scratch.path().join("endpoints.new"), scratch.path().join("endpoints.yaml"));
    fs::write(&fresh, text)?;
    fs::rename(fresh, &path)?;
    Ok(path)
}
