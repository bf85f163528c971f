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
//! Text becomes a tree (`tree`), the tree a [`PoolSpec`] (`schema`); both are pure. [`read`] and [`watch`] do the IO.

mod fields;
mod problem;
mod quote;
mod scalar;
mod schema;
mod source;
mod tree;
mod unique;
mod watch;

use signalbox_types::PoolSpec;

pub use problem::{FileErrors, Problem};
pub use source::{MAX_FILE_BYTES, ReadError, read};
pub use watch::watch;

use problem::Problems;

/// The pool that `text` describes.
///
/// # Errors
/// Everything that is wrong with `text`, in the order of its lines.
pub fn parse(text: &str) -> Result<PoolSpec, FileErrors> {
    let mut problems = Problems::default();
    let spec = tree::read(text, &mut problems).and_then(|root| schema::pool_spec(&root, &mut problems));
    match spec {
        Some(spec) if problems.is_empty() => Ok(spec),
        _ => Err(problems.into()),
    }
}

#[cfg(test)]
mod tests;
