//! The endpoints file: a pool and its endpoints as one YAML document, and after it what the pool says of models, an object a document.
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
//! A file is read whole: all its problems are found in one go, each with its line, its path and how to mend it.
//! Text becomes a tree for each document ([`signalbox_document`]), the trees a [`PoolSpec`] (`schema`, `objects`); both are pure.
//! [`read`] and [`watch`] do the IO.

mod objects;
mod scalar;
mod schema;
mod unique;
mod watch;

use std::path::Path;
use std::sync::Arc;

pub use signalbox_document::{FileErrors, MAX_FILE_BYTES, Problem, ReadError};
use signalbox_document::{Problems, read_file, read_trees};
use signalbox_types::PoolSpec;

pub use self::objects::Ignored;
use self::objects::Objects;
pub use self::watch::watch;

/// What an endpoints file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The pool.
    pub spec: PoolSpec,
    /// Objects in it that are about other pools.
    pub ignored: Vec<Ignored>,
}

/// What `text` holds.
///
/// # Errors
/// Everything that is wrong with `text`, in the order of its lines.
pub fn parse(text: &str) -> Result<Parsed, FileErrors> {
    let mut problems = Problems::default();
    let roots = read_trees(text, &mut problems);
    let parsed = roots.split_first().and_then(|(pool, others)| {
        let (id, endpoints) = schema::pool(pool, &mut problems);
        let mut objects = Objects::default();
        others.iter().for_each(|root| objects.read(root, id.as_ref(), &mut problems));
        let (models, ignored) = objects.finish();
        Some(Parsed { spec: PoolSpec { id: id?, endpoints: endpoints?, models: Arc::new(models) }, ignored })
    });
    problems.or(parsed)
}

/// The pool that the file at `path` describes. Blocks while it reads. What it ignores it does not say; [`watch`] does.
///
/// # Errors
/// [`ReadError`], which names the file.
pub fn read(path: &Path) -> Result<PoolSpec, ReadError> {
    read_file(path, parse).map(|parsed| parsed.spec)
}

#[cfg(test)]
mod tests;
