//! Reads objects with model rules: InferenceObjective, InferenceModelRewrite and InferenceModel.

use signalbox_document::{Node, Problems};
use signalbox_types::{ModelRewrite, Objective, RewriteRule};

use crate::kind::{ObjectKind, read_kind};
use crate::metadata::{Metadata, read_metadata};
use crate::pool_ref::PoolRef;
use crate::spec::{self, Content};

/// An object with model rules for one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelObject {
    /// Kind of the object.
    pub kind: ObjectKind,
    /// First line of the object, counted from 1.
    pub line: usize,
    /// Metadata of the object.
    pub metadata: Metadata,
    /// The pool that it references; `None` if the reference is invalid.
    pub pool_ref: Option<PoolRef>,
    /// Priority of the objective with the object's name, if it defines one.
    pub priority: Option<i32>,
    /// Rules of the rewrite with the object's name, if it defines one.
    pub rules: Option<Vec<RewriteRule>>,
}

impl ModelObject {
    /// Returns whether objects of this kind define an objective with their name.
    pub fn names_objective(&self) -> bool {
        self.kind != ObjectKind::Rewrite
    }

    /// Returns whether the object defines a rewrite with its name.
    pub fn names_rewrite(&self) -> bool {
        self.kind == ObjectKind::Rewrite || self.rules.is_some()
    }

    /// Returns the objective that the object defines.
    pub fn objective(&self) -> Option<Objective> {
        self.priority.map(|priority| Objective { name: self.metadata.name.clone(), priority })
    }

    /// Returns the rewrite that the object defines.
    pub fn rewrite(&self) -> Option<ModelRewrite> {
        let Metadata { name, created_ms, .. } = &self.metadata;
        let of = |rules| ModelRewrite { name: name.clone(), created_ms: *created_ms, rules };
        self.rules.clone().map(of)
    }
}

/// Reads the object in the document `root`. Returns `None` if it has no valid kind or name. What it returns is
/// complete only if no problem was reported.
pub fn read_model_object(root: &Node, problems: &mut Problems) -> Option<ModelObject> {
    let (kind, fields) = read_kind(root, problems)?;
    let metadata = read_metadata(&fields, problems);
    let spec = fields.required("spec", "{ poolRef: { name: POOL }, ... }", problems);
    let spec = spec.and_then(|at| spec::read(kind, at, problems));
    let (pool_ref, Content { priority, rules }) = spec.unwrap_or_default();
    Some(ModelObject { kind, line: root.line, metadata: metadata?, pool_ref, priority, rules })
}
