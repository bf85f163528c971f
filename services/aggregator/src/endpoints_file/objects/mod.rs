//! The documents after the pool: Kubernetes objects with request priorities and model rewrites.

mod header;
mod spec;

use std::collections::BTreeMap;
use std::fmt;

use signalbox_document::{Located, Node, Problems, quoted};
use signalbox_types::{ModelRewrite, Models, Objective, PoolId};

use self::header::{Kind, Metadata, PoolRef};
use self::spec::Content;

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
type NameUse = (Kind, usize);

impl Objects {
    /// Adds the object in the document `root` if it references `pool`, or if the pool is unknown because it
    /// is invalid.
    pub(super) fn read(&mut self, root: &Node, pool: Option<&PoolId>, problems: &mut Problems) {
        let Some((kind, fields)) = header::read_kind(root, problems) else { return };
        let metadata = header::metadata(&fields, problems);
        let spec = fields.required("spec", "{ poolRef: { name: POOL }, ... }", problems);
        let spec = spec.and_then(|at| spec::read(kind, at, problems));
        let (pool_ref, content) = spec.unwrap_or_default();
        let Some(metadata) = metadata else { return };
        if let (Some(pool), Some(pool_ref)) = (pool, &pool_ref)
            && !pool_ref.references(pool, &metadata)
        {
            self.ignore(root.line, kind, &metadata, pool_ref, pool);
            return;
        }
        let Metadata { name, created_ms, .. } = metadata;
        // An object uses its name even if other parts of it are invalid.
        let Content { priority, rules } = content;
        self.register_name(kind, rules.is_some(), &name, problems);
        if let Some(priority) = priority {
            self.objectives.push(Objective { name: name.text.to_owned(), priority });
        }
        if let Some(rules) = rules {
            self.rewrites.push(ModelRewrite { name: name.text.to_owned(), created_ms, rules });
        }
    }

    /// Returns the objectives and rewrites, and the ignored objects.
    pub(super) fn finish(self) -> (Models, Vec<Ignored>) {
        (Models::new(self.objectives, self.rewrites), self.ignored)
    }

    fn ignore(
        &mut self,
        line: usize,
        kind: Kind,
        metadata: &Metadata<'_>,
        pool_ref: &PoolRef<'_>,
        pool: &PoolId,
    ) {
        let (kind, name) = (kind.name(), quoted(metadata.name.text));
        let namespace = metadata.namespace.unwrap_or(&pool.namespace);
        let message = format!("{kind} {name} references {}", pool_ref.describe(namespace));
        self.ignored.push(Ignored { line, message });
    }

    /// Registers the object's name as that of an objective, a rewrite or both, and reports one that is
    /// already used.
    fn register_name(&mut self, kind: Kind, has_rules: bool, name: &Name<'_>, problems: &mut Problems) {
        let objective = (kind != Kind::Rewrite).then_some(&mut self.objective_names);
        let rewrite = (kind == Kind::Rewrite || has_rules).then_some(&mut self.rewrite_names);
        for names in [objective, rewrite].into_iter().flatten() {
            let line = name.at.node.line;
            let (used_by, first) = *names.entry(name.text.to_owned()).or_insert((kind, line));
            if first != line {
                let (shown, used_by) = (quoted(name.text), used_by.name());
                let message =
                    format!("{shown} is already the name of the {used_by} on line {first}; use another");
                return name.at.report(problems, message);
            }
        }
    }
}

/// A name and its position.
#[derive(Debug)]
struct Name<'a> {
    at: Located<'a>,
    text: &'a str,
}

#[cfg(test)]
mod tests;
