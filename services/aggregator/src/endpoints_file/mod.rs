//! The endpoints file: a pool and its endpoints as one YAML document.
//!
//! ```yaml
//! apiVersion: signalbox/v1
//! kind: Endpoints
//! pool: { name: llama3, namespace: default }
//! endpoints:
//! - { name: pod-a, address: 127.0.0.1:8001, engine: vllm, labels: { role: both } }
//! ```
//!
//! A file is read whole: all its problems are found in one go, each with its line, its path and how to mend it.
//! Text becomes a tree ([`signalbox_document`]), the tree a [`PoolSpec`] (`schema`); both are pure. [`read`] and [`watch`] do the IO.

mod scalar;
mod schema;
mod unique;
mod watch;

use std::path::Path;

pub use signalbox_document::{FileErrors, MAX_FILE_BYTES, Problem, ReadError};
use signalbox_document::{Problems, read_file, read_tree};
use signalbox_types::PoolSpec;
pub use watch::watch;

/// The pool that `text` describes.
///
/// # Errors
/// Everything that is wrong with `text`, in the order of its lines.
pub fn parse(text: &str) -> Result<PoolSpec, FileErrors> {
    let mut problems = Problems::default();
    let root = read_tree(text, schema::KIND, &mut problems);
    let spec = root.and_then(|root| schema::pool_spec(&root, &mut problems));
    problems.or(spec)
}

/// The pool that the file at `path` describes. Blocks while it reads.
///
/// # Errors
/// [`ReadError`], which names the file.
pub fn read(path: &Path) -> Result<PoolSpec, ReadError> {
    read_file(path, parse)
}

#[cfg(test)]
mod tests;
