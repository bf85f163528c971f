//! The objects after the pool, as Kubernetes has them: how much requests matter, and which models they go to.

mod envelope;
mod spec;

use std::collections::BTreeMap;
use std::fmt;

use signalbox_document::{Located, Node, Problems, quoted};
use signalbox_types::{ModelRewrite, Models, Objective, PoolId};

use self::envelope::{Kind, Metadata, PoolRef};
use self::spec::Content;

/// An object that is about another pool than the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignored {
    /// The line on which it begins.
    pub line: usize,
    /// What it is, and about which pool.
    pub message: String,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// The objects read so far.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objectives: Vec<Objective>,
    rewrites: Vec<ModelRewrite>,
    ignored: Vec<Ignored>,
    /// The names that are taken, and where.
    objective_names: BTreeMap<String, Place>,
    rewrite_names: BTreeMap<String, Place>,
}

/// Where a name is taken: by an object of this kind, on this line.
type Place = (Kind, usize);

impl Objects {
    /// Adds the object in the document `root`, if it is about `pool`; where that is not known, every object is.
    pub(super) fn read(&mut self, root: &Node, pool: Option<&PoolId>, problems: &mut Problems) {
        let Some((kind, fields)) = envelope::open(root, problems) else { return };
        let metadata = envelope::metadata(&fields, problems);
        let spec = fields.required("spec", "{ poolRef: { name: POOL }, ... }", problems);
        let spec = spec.and_then(|at| spec::read(kind, at, problems));
        let (pool_ref, content) = spec.unwrap_or_default();
        let Some(metadata) = metadata else { return };
        if let (Some(pool), Some(pool_ref)) = (pool, &pool_ref)
            && !pool_ref.is_of(pool, &metadata)
        {
            self.ignore(root.line, kind, &metadata, pool_ref, pool);
            return;
        }
        let Metadata { name, created_ms, .. } = metadata;
        // Its name is taken even where the rest of it is of no use.
        let Content { priority, rules } = content;
        self.take(kind, rules.is_some(), &name, problems);
        if let Some(priority) = priority {
            self.objectives.push(Objective { name: name.text.to_owned(), priority });
        }
        if let Some(rules) = rules {
            self.rewrites.push(ModelRewrite { name: name.text.to_owned(), created_ms, rules });
        }
    }

    /// What all of them say, and those that are ignored.
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
        let message = format!("{kind} {name} is about {}", pool_ref.shown(namespace));
        self.ignored.push(Ignored { line, message });
    }

    /// Takes the object's name among those of what it is: an objective, a rewrite, or both.
    fn take(&mut self, kind: Kind, has_rules: bool, name: &Name<'_>, problems: &mut Problems) {
        let objective = (kind != Kind::Rewrite).then_some(&mut self.objective_names);
        let rewrite = (kind == Kind::Rewrite || has_rules).then_some(&mut self.rewrite_names);
        for names in [objective, rewrite].into_iter().flatten() {
            let line = name.at.node.line;
            let (taken_by, first) = *names.entry(name.text.to_owned()).or_insert((kind, line));
            if first != line {
                let (name_shown, taken_by) = (quoted(name.text), taken_by.name());
                let message =
                    format!("{name_shown} is also the name of the {taken_by} on line {first}; change one");
                return name.at.report(problems, message);
            }
        }
    }
}

/// A name, and where it is written.
#[derive(Debug)]
struct Name<'a> {
    at: Located<'a>,
    text: &'a str,
}

#[cfg(test)]
mod tests;
