//! The endpoints file: one YAML document with a pool and its endpoints, then one document per objective or
//! model rewrite.
//!
//! ```yaml
//! apiVersion: signalbox/v1
//! kind: Endpoints
//! pool: { name: llama3, namespace: default }
//! endpoints:
//! - { name: pod-a, address: 127.0.0.1:8001, engine: vllm, labels: { role: both } }
//! ---
//! apiVersion: llm-d.ai/v1alpha2
//! kind: InferenceObjective
//! metadata: { name: interactive }
//! spec: { poolRef: { name: llama3 }, priority: 10 }
//! ```
//!
//! All problems of a file are reported at once, each with its line, its path and how to fix it.
//! [`signalbox_document`] parses the text into one tree per document; `schema` and `objects` turn the trees
//! into a [`PoolSpec`]. [`read`] and [`watch`] do the I/O.

mod duplicates;
mod objects;
mod scalar;
mod schema;
mod watch;

use std::path::Path;
use std::sync::Arc;

pub use signalbox_document::{FileErrors, MAX_FILE_BYTES, Problem, ReadError};
use signalbox_document::{Problems, read_file, read_trees};
use signalbox_types::PoolSpec;

pub use self::objects::Ignored;
use self::objects::Objects;
pub use self::watch::watch;

/// Contents of an endpoints file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The pool's specification.
    pub spec: PoolSpec,
    /// The port on which replicas that serve all pools serve this one; `None` for their `--grpc-port`.
    pub port: Option<u16>,
    /// Objects that reference other pools.
    pub ignored: Vec<Ignored>,
}

/// Parses the text of an endpoints file.
///
/// # Errors
/// All problems of the text, sorted by line.
pub fn parse(text: &str) -> Result<Parsed, FileErrors> {
    let mut problems = Problems::default();
    let roots = read_trees(text, &mut problems);
    let parsed = roots.split_first().and_then(|(pool, others)| {
        let (id, port, endpoints) = schema::pool(pool, &mut problems);
        let mut objects = Objects::default();
        others.iter().for_each(|root| objects.read(root, id.as_ref(), &mut problems));
        let (models, ignored) = objects.finish();
        let spec = PoolSpec { id: id?, endpoints: endpoints?, models: Arc::new(models) };
        Some(Parsed { spec, port, ignored })
    });
    problems.into_result(parsed)
}

/// Reads the endpoints file at `path`. Blocks the thread. Ignored objects are not logged; [`watch`] logs
/// them.
///
/// # Errors
/// [`ReadError`], which names the file.
pub fn read(path: &Path) -> Result<Parsed, ReadError> {
    read_file(path, parse)
}

#[cfg(test)]
mod tests;
