//! From objects to model rules.

use serde_json::{Value, json};

use super::fixtures::{Fixture, LEGACY, LLM_D, custom, pool, resource};
use crate::catalog::Input;
use crate::objects::{Object, Resource};

fn objective(name: &str, second: u32, spec: &Value) -> (Resource, Object) {
    custom(resource(LLM_D, "inferenceobjectives"), name, second, spec)
}

fn rewrite(name: &str, second: u32, rules: &Value) -> (Resource, Object) {
    let spec = json!({ "poolRef": { "name": "llama" }, "rules": rules });
    custom(resource(LLM_D, "inferencemodelrewrites"), name, second, &spec)
}

fn for_llama(priority: i32) -> Value {
    json!({ "poolRef": { "name": "llama" }, "priority": priority })
}

fn fixture(mut objects: Vec<(Resource, Object)>) -> Fixture {
    objects.push(pool("prod/llama", 0, 9002, json!({})));
    Fixture::with(vec![], objects)
}

/// Returns the objectives as `NAME=PRIORITY` and the names of the rewrites, in order of precedence.
fn models(fixture: &mut Fixture) -> Vec<String> {
    let models = &fixture.pool("prod", "llama").spec.models;
    let objectives =
        models.objectives().iter().map(|objective| format!("{}={}", objective.name, objective.priority));
    objectives.chain(models.rewrites().iter().map(|rewrite| rewrite.name.clone())).collect()
}

#[test]
fn objects_in_the_namespace_that_reference_the_pool_count() {
    let legacy_group = json!({ "poolRef": { "name": "llama", "group": "inference.networking.x-k8s.io" } });
    let other_group = json!({ "poolRef": { "name": "llama", "group": "example.com" } });
    let targets = json!([{ "targets": [{ "modelRewrite": "base" }] }]);
    let mut fixture = fixture(vec![
        objective("prod/high", 0, &for_llama(10)),
        objective("prod/legacy-group", 0, &legacy_group),
        objective("prod/other-group", 0, &other_group),
        objective("prod/other-pool", 0, &json!({ "poolRef": { "name": "other" } })),
        objective("test/other-namespace", 0, &for_llama(1)),
        rewrite("prod/newer", 9, &targets),
        rewrite("prod/older", 8, &targets),
    ]);
    assert_eq!(vec!["high=10", "legacy-group=0", "older", "newer"], models(&mut fixture));
    let (resource, object) = objective("prod/high", 0, &for_llama(-1));
    fixture.catalog.handle(Input::Applied(resource, object.clone()));
    assert_eq!("high=-1", models(&mut fixture)[0]);
    fixture.catalog.handle(Input::Deleted(resource, object));
    assert_eq!("legacy-group=0", models(&mut fixture)[0]);
}

#[test]
fn the_older_of_two_objects_with_one_name_counts() {
    let spec = json!({
        "poolRef": { "name": "llama" }, "modelName": "m", "criticality": "Critical",
        "targetModels": [{ "name": "m1" }],
    });
    let model = |second| custom(resource(LEGACY, "inferencemodels"), "prod/x", second, &spec);
    let rule = json!([{ "targets": [{ "modelRewrite": "base" }] }]);
    let mut old_model =
        fixture(vec![objective("prod/x", 2, &for_llama(1)), rewrite("prod/x", 2, &rule), model(1)]);
    let rejected = ["InferenceModelRewrite prod/x NameTaken", "InferenceObjective prod/x NameTaken"];
    assert_eq!(rejected.map(str::to_owned).to_vec(), old_model.shown().1);
    assert_eq!(vec!["x=10", "x"], models(&mut old_model));
    let mut new_model =
        fixture(vec![objective("prod/x", 1, &for_llama(1)), rewrite("prod/x", 1, &rule), model(2)]);
    assert_eq!(vec!["InferenceModel prod/x NameTaken"], new_model.shown().1);
    assert_eq!(vec!["x=1", "x"], models(&mut new_model));
}

#[test]
fn an_invalid_object_is_left_out_and_reported_once() {
    let mut fixture = fixture(vec![
        pool("prod/second", 0, 9003, json!({})),
        objective("prod/good", 0, &for_llama(1)),
        objective("prod/bad", 0, &json!({ "poolRef": { "name": "llama" }, "priority": "high" })),
        objective("prod/no-pool", 0, &json!({ "priority": 1 })),
        objective("prod/bad-for-another", 0, &json!({ "poolRef": { "name": "other" }, "priority": "high" })),
        objective("test/no-pool-of-ours", 0, &json!({ "priority": 1 })),
    ]);
    let rejected = ["InferenceObjective prod/bad Invalid", "InferenceObjective prod/no-pool Invalid"];
    assert_eq!(rejected.map(str::to_owned).to_vec(), fixture.shown().1);
    assert_eq!(vec!["good=1"], models(&mut fixture));
}
