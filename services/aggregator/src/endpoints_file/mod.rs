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
mod named_endpoint;
mod objects;
mod scalar;
mod schema;
mod watch;

use std::path::Path;
use std::sync::Arc;

pub use signalbox_document::{FileErrors, MAX_FILE_BYTES, Problem, ReadError};
use signalbox_document::{Problems, read_file, read_trees};
use signalbox_types::{PageSettings, PoolSpec};

pub use self::named_endpoint::NamedEndpoint;
pub use self::objects::Ignored;
use self::objects::Objects;
use self::schema::Endpoints;
pub use self::watch::watch;

/// Contents of an endpoints file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The pool's specification, with the endpoints that have an IP address.
    pub spec: PoolSpec,
    /// The endpoints that have a host name.
    pub named: Vec<NamedEndpoint>,
    /// The port on which replicas that serve all pools serve this one; `None` for their `--grpc-port`.
    pub port: Option<u16>,
    /// Objects that reference other pools.
    pub ignored: Vec<Ignored>,
}

/// Parses the text of an endpoints file. `defaults` apply to what endpoints do not say of their metrics pages.
///
/// # Errors
/// All problems of the text, sorted by line.
pub fn parse(text: &str, defaults: &PageSettings) -> Result<Parsed, FileErrors> {
    let mut problems = Problems::default();
    let roots = read_trees(text, &mut problems);
    let parsed = roots.split_first().and_then(|(pool, others)| {
        let (id, port, endpoints) = schema::pool(pool, defaults, &mut problems);
        let mut objects = Objects::default();
        others.iter().for_each(|root| objects.read(root, id.as_ref(), &mut problems));
        let (models, ignored) = objects.finish();
        let Endpoints { fixed, named } = endpoints?;
        let spec = PoolSpec { id: id?, endpoints: fixed, models: Arc::new(models) };
        Some(Parsed { spec, named, port, ignored })
    });
    problems.into_result(parsed)
}

/// Reads the endpoints file at `path`, as [`parse`] does. Blocks the thread. Ignored objects are not logged; [`watch`]
/// logs them.
///
/// # Errors
/// [`ReadError`], which names the file.
pub fn read(path: &Path, defaults: &PageSettings) -> Result<Parsed, ReadError> {
    read_file(path, |text| parse(text, defaults))
}

#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod tests;
