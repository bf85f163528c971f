//! The documents after the pool: Kubernetes objects with request priorities and model rewrites.

use std::collections::BTreeMap;
use std::fmt;

use signalbox_document::{Located, Node, Problems, quoted};
use signalbox_objects::{Metadata, ModelObject, ObjectKind, PoolRef, read_model_object};
use signalbox_types::{ModelRewrite, Models, Objective, PoolId};

use super::schema;

/// An object that references another pool than the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// First line of the object.
    pub line: usize,
    /// The object, and the pool that it references.
    pub message: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The objects that were read so far.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objectives: Vec<Objective>,
    rewrites: Vec<ModelRewrite>,
    ignored: Vec<Ignored>,
    /// The used names, and by which object.
    objective_names: BTreeMap<String, NameUse>,
    rewrite_names: BTreeMap<String, NameUse>,
}

/// The kind and the line of the object that uses a name.
type NameUse = (ObjectKind, usize);

impl Objects {
    /// Adds the object in the document `root` if it references `pool`, or if the pool is unknown because it
    /// is invalid.
    pub(super) fn read(&mut self, root: &Node, pool: Option<&PoolId>, problems: &mut Problems) {
        if is_second_pool(root, problems) {
            return;
        }
        let Some(object) = read_model_object(root, problems) else { return };
        if let (Some(pool), Some(pool_ref)) = (pool, &object.pool_ref) {
            let namespace = object.metadata.namespace.as_deref().unwrap_or(&pool.namespace);
            if pool_ref.pool_in(namespace).as_ref() != Some(pool) {
                self.ignored.push(ignored(&object, pool_ref, namespace));
                return;
            }
        }
        // An object uses its name even if other parts of it are invalid.
        self.register_name(&object, problems);
        self.objectives.extend(object.objective());
        self.rewrites.extend(object.rewrite());
    }

    /// Returns the objectives and rewrites, and the ignored objects.
    pub(super) fn finish(self) -> (Models, Vec<Ignored>) {
        (Models::new(self.objectives, self.rewrites), self.ignored)
    }

    /// Registers the object's name as that of an objective, a rewrite or both, and reports one that is
    /// already used.
    fn register_name(&mut self, object: &ModelObject, problems: &mut Problems) {
        let objective = object.names_objective().then_some(&mut self.objective_names);
        let rewrite = object.names_rewrite().then_some(&mut self.rewrite_names);
        let Metadata { name, name_line, .. } = &object.metadata;
        for names in [objective, rewrite].into_iter().flatten() {
            let (used_by, first) = *names.entry(name.clone()).or_insert((object.kind, *name_line));
            if first != *name_line {
                let (shown, used_by) = (quoted(name), used_by.name());
                let message =
                    format!("{shown} is already the name of the {used_by} on line {first}; use another");
                return object.metadata.report_name(message, problems);
            }
        }
    }
}

/// Reports the document `root` if it describes a pool, which only the first document can.
fn is_second_pool(root: &Node, problems: &mut Problems) -> bool {
    // A document that is not a mapping is reported by the reader of objects.
    let fields = Located::root(root).lenient_fields(&mut Problems::default());
    let Some(at) = fields.and_then(|fields| fields.optional("kind")) else { return false };
    let is_pool = at.raw_text(schema::KIND, &mut Problems::default()) == Some(schema::KIND);
    if is_pool {
        let shown = quoted(schema::KIND);
        at.report(
            problems,
            format!(
                "{shown} is not a supported kind; only the first document can describe a pool; use one file per pool"
            ),
        );
    }
    is_pool
}

fn ignored(object: &ModelObject, pool_ref: &PoolRef, namespace: &str) -> Ignored {
    let (kind, name) = (object.kind.name(), quoted(&object.metadata.name));
    let message = format!("{kind} {name} references {}", pool_ref.describe(namespace));
    Ignored { line: object.line, message }
}

#[cfg(test)]
mod tests;
