//! Objects and catalogs of tests.

use serde_json::{Value, json};
use signalbox_types::{PageSettings, PoolId};

use crate::catalog::{Catalog, Input, PoolSelection, Refreshed, Rules, Scope};
use crate::discovered::DiscoveredPool;
use crate::objects::{CustomObject, Object, PODS, PodObject, Resource};

pub(super) const POOL_V1: &str = "inference.networking.k8s.io/v1";
pub(super) const LEGACY: &str = "inference.networking.x-k8s.io/v1alpha2";
pub(super) const LLM_D: &str = "llm-d.ai/v1alpha2";

pub(super) fn pools_v1() -> Resource {
    resource(POOL_V1, "inferencepools")
}

pub(super) fn resource(api_version: &str, plural: &str) -> Resource {
    Resource::find(api_version, plural).unwrap()
}

/// The Service of the installation is `prod/epp`, with the ports 9002 to 9004.
pub(super) fn rules() -> Rules {
    let selection = PoolSelection::ServedBy { namespace: "prod".to_owned(), name: "epp".to_owned() };
    Rules { selection, service_ports: Some(9002..=9004), pages: PageSettings::default() }
}

fn metadata(name: &str, second: u32) -> Value {
    let (namespace, name) = name.split_once('/').unwrap();
    let created = format!("2026-01-31T12:00:{second:02}Z");
    json!({ "namespace": namespace, "name": name, "uid": name, "creationTimestamp": created })
}

/// A pod called `NAMESPACE/NAME` at `ip` with the label `app: vllm`, ready; `changes` is merged into it.
pub(super) fn pod(name: &str, ip: &str, changes: Value) -> Object {
    let mut metadata = metadata(name, 0);
    metadata["labels"] = json!({ "app": "vllm" });
    let mut pod = json!({
        "metadata": metadata,
        "status": {
            "phase": "Running", "podIP": ip, "conditions": [{ "type": "Ready", "status": "True" }],
        },
    });
    merge(&mut pod, changes);
    Object::Pod(serde_json::from_value::<PodObject>(pod).unwrap().into())
}

pub(super) fn deleted() -> Value {
    json!({ "metadata": { "deletionTimestamp": "2026-01-31T13:00:00Z" } })
}

pub(super) fn not_ready() -> Value {
    json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } })
}

pub(super) fn annotations(annotations: &Value) -> Value {
    json!({ "metadata": { "annotations": annotations } })
}

/// A pool created at this second, which selects `app: vllm` on port 8000 and asks `epp` on `port`; `changes`
/// is merged into its spec.
pub(super) fn pool(name: &str, second: u32, port: u16, changes: Value) -> (Resource, Object) {
    let mut spec = json!({
        "selector": { "matchLabels": { "app": "vllm" } },
        "targetPorts": [{ "number": 8000 }],
        "endpointPickerRef": { "name": "epp", "port": { "number": port } },
    });
    merge(&mut spec, changes);
    custom(pools_v1(), name, second, &spec)
}

pub(super) fn custom(resource: Resource, name: &str, second: u32, spec: &Value) -> (Resource, Object) {
    let object = json!({ "metadata": metadata(name, second), "spec": spec });
    let object: CustomObject = serde_json::from_value(object).unwrap();
    (resource, object.read(resource))
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, value) in changes {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, changes) => *into = changes,
    }
}

/// A catalog that is synced and has these objects.
pub(super) struct Fixture {
    pub(super) catalog: Catalog,
}

impl Fixture {
    pub(super) fn new(rules: Rules) -> Self {
        let mut catalog = Catalog::new(rules, vec![Scope::All]);
        let watched = [
            pools_v1(),
            resource(LEGACY, "inferencepools"),
            resource(LLM_D, "inferenceobjectives"),
            resource(LLM_D, "inferencemodelrewrites"),
            resource(LEGACY, "inferencemodels"),
        ];
        catalog.handle(Input::Watched(watched.into()));
        for resource in watched.into_iter().chain([PODS]) {
            catalog.handle(Input::Listed { resource, scope: Scope::All, objects: Vec::new() });
        }
        Self { catalog }
    }

    pub(super) fn with(pods: Vec<Object>, others: Vec<(Resource, Object)>) -> Self {
        let mut fixture = Self::new(rules());
        pods.into_iter().for_each(|pod| fixture.catalog.handle(Input::Applied(PODS, pod)));
        others.into_iter().for_each(|(resource, object)| {
            fixture.catalog.handle(Input::Applied(resource, object));
        });
        fixture
    }

    pub(super) fn refresh(&mut self) -> Refreshed {
        self.catalog.refresh().expect("the catalog is synced")
    }

    /// Returns the endpoints of all pools as `POOL: NAME@ADDRESS[ draining]`, and the rejections as
    /// `KIND NAMESPACE/NAME REASON`.
    pub(super) fn shown(&mut self) -> (Vec<String>, Vec<String>) {
        let Refreshed { pools, rejections, .. } = self.refresh();
        let endpoints = pools.pools.iter().flat_map(|(id, DiscoveredPool { spec, .. })| {
            spec.endpoints.iter().map(move |endpoint| {
                let draining = if endpoint.is_draining { " draining" } else { "" };
                format!("{id}: {}@{}{draining}", endpoint.name, endpoint.address)
            })
        });
        let rejections = rejections.iter().map(|rejection| {
            let object = &rejection.object;
            let (kind, reason) = (object.kind, rejection.reason.name());
            format!("{kind} {}/{} {reason}", object.key.namespace, object.key.name)
        });
        (endpoints.collect(), rejections.collect())
    }

    pub(super) fn pool(&mut self, namespace: &str, name: &str) -> DiscoveredPool {
        let id = PoolId { namespace: namespace.to_owned(), name: name.to_owned() };
        self.refresh().pools.pools.get(&id).unwrap_or_else(|| panic!("no pool {id}")).clone()
    }
}
