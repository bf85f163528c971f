//! Custom objects, read by the same parser as those in a file.

use std::borrow::Cow;

use kube::api::ObjectMeta;
use kube::core::{ApiResource, DynamicResourceScope};
use kube::{Resource as KubeResource, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use signalbox_document::{FileErrors, Node, Problems};
use signalbox_objects::{InferencePool, ModelObject, read_inference_pool, read_model_object};

use super::Object;
use super::meta::{created_ms, used_meta};
use super::object_ref::ObjectRef;
use super::resource::{Resource, ResourceKind};

/// Number of problems of an object that are shown.
const MAX_SHOWN: usize = 3;

/// An InferencePool as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PoolEntry {
    pub(crate) reference: ObjectRef,
    /// Milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
    pub(crate) is_being_deleted: bool,
    /// The pool; incomplete if there is a problem.
    pub(crate) pool: Option<InferencePool>,
    /// What is wrong with it.
    pub(crate) problem: Option<String>,
}

/// An object with model rules as far as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelEntry {
    pub(crate) reference: ObjectRef,
    /// Milliseconds since the Unix epoch.
    pub(crate) created_ms: u64,
    /// The object; incomplete if there is a problem.
    pub(crate) object: Option<ModelObject>,
    /// What is wrong with it.
    pub(crate) problem: Option<String>,
}

/// A custom object as the API server sends it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct CustomObject {
    #[serde(deserialize_with = "used_meta")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Value,
}

impl CustomObject {
    /// Reads the object, which is of this `resource`.
    pub(crate) fn read(self, resource: Resource) -> Object {
        let reference = ObjectRef::new(resource.api_version, resource.kind.name(), &self.metadata);
        let created_ms = created_ms(&self.metadata);
        let is_being_deleted = self.metadata.deletion_timestamp.is_some();
        let root = Node::from_json(&json!({
            "apiVersion": resource.api_version,
            "kind": resource.kind.name(),
            "metadata": {
                "name": self.name_any(),
                "namespace": self.metadata.namespace,
                "creationTimestamp": self.metadata.creation_timestamp,
            },
            "spec": self.spec,
        }));
        let mut problems = Problems::accepting_unknown_fields();
        if resource.kind == ResourceKind::Pool {
            let pool = read_inference_pool(&root, &mut problems);
            let problem = shown(problems);
            return Object::Pool(PoolEntry { reference, created_ms, is_being_deleted, pool, problem });
        }
        let object = read_model_object(&root, &mut problems);
        Object::Model(ModelEntry { reference, created_ms, object, problem: shown(problems) })
    }
}

/// Returns the problems on one line, or `None` if there are none.
fn shown(problems: Problems) -> Option<String> {
    if problems.is_empty() {
        return None;
    }
    let errors = FileErrors::from(problems);
    let all = errors.problems();
    let shown = all.iter().take(MAX_SHOWN).map(|problem| format!("{}: {}", problem.path, problem.message));
    let more = all.len().saturating_sub(MAX_SHOWN);
    let more = (more > 0).then(|| format!("and {more} more"));
    Some(shown.chain(more).collect::<Vec<_>>().join("; "))
}

impl KubeResource for CustomObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(api_version: &str, plural: &str, spec: &Value) -> Object {
        let meta = json!({
            "name": "x", "namespace": "prod", "uid": "1", "creationTimestamp": "2026-01-31T12:00:00Z",
        });
        let object: CustomObject = serde_json::from_value(json!({
            "apiVersion": api_version, "kind": "Ignored", "metadata": meta, "spec": spec, "status": { "x": 1 },
        }))
        .unwrap();
        object.read(Resource::find(api_version, plural).unwrap())
    }

    #[test]
    fn the_early_forms_of_a_pool_and_an_objective_are_read() {
        let version = "inference.networking.k8s.io/v1alpha2";
        let spec = json!({
            "selector": { "matchLabels": { "app": "vllm" } },
            "targetPortNumber": 8000,
            "extensionRef": { "name": "epp" },
        });
        let Object::Pool(pool) = read(version, "inferencepools", &spec) else { panic!("a pool") };
        assert_eq!((None, 1_769_860_800_000), (pool.problem, pool.created_ms));
        assert_eq!(Some(9002), pool.pool.unwrap().picker.unwrap().port);
        let spec = json!({ "modelName": "m", "criticality": "Critical", "poolRef": { "name": "x" } });
        let Object::Model(model) = read(version, "inferenceobjectives", &spec) else {
            panic!("an objective")
        };
        assert_eq!(None, model.problem);
        assert_eq!(Some(10), model.object.unwrap().priority);
    }

    #[test]
    fn unknown_fields_are_accepted_and_problems_are_shown_on_one_line() {
        let spec = json!({ "poolRef": { "name": "x", "future": 1 }, "rules": [], "future": {} });
        let Object::Model(model) = read("llm-d.ai/v1alpha2", "inferencemodelrewrites", &spec) else {
            panic!()
        };
        assert_eq!(None, model.problem);
        let spec = json!({ "rules": [{ "targets": [] }, { "targets": 1 }, {}, {}] });
        let Object::Model(model) = read("llm-d.ai/v1alpha2", "inferencemodelrewrites", &spec) else {
            panic!()
        };
        let expected = "spec.poolRef: missing; write poolRef: { name: POOL }; spec.rules[0].targets: must not be empty; \
                        name at least one target; spec.rules[1].targets: expected a list or [], found a number; and 2 more";
        assert_eq!(Some(expected), model.problem.as_deref());
    }

    #[test]
    fn an_object_without_a_spec_has_a_problem() {
        let Object::Pool(pool) = read("inference.networking.k8s.io/v1", "inferencepools", &Value::Null)
        else {
            panic!()
        };
        assert!(pool.problem.is_some());
    }
}
