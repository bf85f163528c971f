//! The order of changes does not matter.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::fixtures::{Fixture, LEGACY, LLM_D, annotations, custom, deleted, not_ready, pod, pool, resource};
use crate::catalog::{Input, Scope};
use crate::objects::{Object, ObjectKey, PODS, Resource};

/// One change of the cluster.
#[derive(Clone, Debug)]
enum Change {
    Apply(Resource, Object),
    Delete(Resource, Object),
    /// A watch lists everything again.
    Relist(Resource),
    Refresh,
}

fn name() -> impl Strategy<Value = String> {
    (prop::sample::select(vec!["prod", "test"]), "[abc]")
        .prop_map(|(namespace, name)| format!("{namespace}/{name}"))
}

fn any_pod() -> impl Strategy<Value = (Resource, Object)> {
    let label = json!({ "metadata": { "labels": { "app": "other" } } });
    let garbage = annotations(&json!({ "signalbox.dev/metrics-port": "x", "llm-d.ai/active-ports": "8000" }));
    let changes = prop::sample::select(vec![json!({}), deleted(), not_ready(), label, garbage]);
    // Few addresses, so that some pods share one.
    (name(), 1..4_u8, changes)
        .prop_map(|(name, ip, changes)| (PODS, pod(&name, &format!("10.0.0.{ip}"), changes)))
}

fn any_pool() -> impl Strategy<Value = (Resource, Object)> {
    let changes: Vec<Value> = vec![
        json!({}),
        json!({ "targetPorts": [{ "number": 8000 }, { "number": 8001 }] }),
        json!({ "selector": { "matchLabels": { "app": "other" } } }),
        json!({ "selector": { "matchLabels": null } }),
        json!({ "endpointPickerRef": { "name": "other" } }),
    ];
    let current = (name(), 0..3_u32, 9002..9006_u16, prop::sample::select(changes))
        .prop_map(|(name, second, port, changes)| pool(&name, second, port, changes));
    let legacy = (name(), 0..3_u32).prop_map(|(name, second)| {
        let spec = json!({
            "selector": { "app": "vllm" }, "targetPortNumber": 8000, "extensionRef": { "name": "epp" },
        });
        custom(resource(LEGACY, "inferencepools"), &name, second, &spec)
    });
    prop_oneof![3 => current, 1 => legacy]
}

fn any_model() -> impl Strategy<Value = (Resource, Object)> {
    let rules = json!([{ "targets": [{ "modelRewrite": "m" }] }]);
    let choices = prop::sample::select(vec![
        (LLM_D, "inferenceobjectives", json!({ "priority": 1 })),
        (LLM_D, "inferenceobjectives", json!({ "priority": "x" })),
        (LLM_D, "inferencemodelrewrites", json!({ "rules": rules })),
        (LEGACY, "inferencemodels", json!({ "modelName": "m", "targetModels": [{ "name": "n" }] })),
    ]);
    (name(), 0..3_u32, prop::option::of("[abc]"), choices).prop_map(|(name, second, pool, choice)| {
        let (version, plural, mut spec) = choice;
        if let Some(pool) = pool {
            spec["poolRef"] = json!({ "name": pool });
        }
        custom(resource(version, plural), &name, second, &spec)
    })
}

fn change() -> impl Strategy<Value = Change> {
    let object = prop_oneof![4 => any_pod(), 3 => any_pool(), 2 => any_model()];
    let object = (object, 0..4_u8).prop_map(|((resource, object), action)| match action {
        0 => Change::Delete(resource, object),
        1 => Change::Relist(resource),
        _ => Change::Apply(resource, object),
    });
    prop_oneof![5 => object, 1 => Just(Change::Refresh)]
}

type Cluster = BTreeMap<(Resource, ObjectKey), Object>;

fn list(cluster: &Cluster, resource: Resource) -> Input {
    let objects = cluster.iter().filter(|((of, _), _)| *of == resource).map(|(_, object)| object.clone());
    Input::Listed { resource, scope: Scope::All, objects: objects.collect() }
}

proptest! {
    #[test]
    fn any_order_of_changes_gives_the_result_of_a_fresh_start(changes in prop::collection::vec(change(), 0..60)) {
        let mut cluster = Cluster::new();
        let mut followed = Fixture::with(vec![], vec![]);
        for change in changes {
            match change {
                Change::Apply(resource, object) => {
                    cluster.insert((resource, object.reference().key.clone()), object.clone());
                    followed.catalog.handle(Input::Applied(resource, object));
                }
                Change::Delete(resource, object) => {
                    cluster.remove(&(resource, object.reference().key.clone()));
                    followed.catalog.handle(Input::Deleted(resource, object));
                }
                Change::Relist(resource) => followed.catalog.handle(list(&cluster, resource)),
                Change::Refresh => {
                    followed.refresh();
                }
            }
        }
        let mut fresh = Fixture::with(vec![], vec![]);
        let resources: Vec<Resource> = cluster.keys().map(|(resource, _)| *resource).collect();
        resources.into_iter().for_each(|resource| fresh.catalog.handle(list(&cluster, resource)));
        prop_assert_eq!(fresh.refresh().pools, followed.refresh().pools);
        prop_assert_eq!(&fresh.catalog.rejections, &followed.catalog.rejections);
    }
}
