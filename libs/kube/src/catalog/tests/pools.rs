//! Which pools are served.

use serde_json::{Value, json};
use signalbox_types::PoolId;

use super::fixtures::{Fixture, LEGACY, custom, pod, pool, resource, rules};
use crate::catalog::{Input, PoolSelection, Refreshed, Rules};
use crate::objects::PODS;

fn no_changes() -> Value {
    json!({})
}

/// Shows the served pools as `POOL:PORT` and the rejections as `POOL REASON`.
fn shown(fixture: &mut Fixture) -> (Vec<String>, Vec<String>) {
    let Refreshed { pools, rejections, .. } = fixture.refresh();
    let pools = pools.pools.iter().map(|(id, pool)| format!("{id}:{}", pool.port)).collect();
    let rejections = rejections.iter().map(|rejection| {
        let key = &rejection.object.key;
        format!("{}/{} {}", key.namespace, key.name, rejection.reason.name())
    });
    (pools, rejections.collect())
}

fn served(pools: &[&str], rejected: &[&str]) -> (Vec<String>, Vec<String>) {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    (owned(pools), owned(rejected))
}

#[test]
fn pools_of_our_service_are_served_and_others_are_none_of_our_business() {
    let other = |reference: Value| json!({ "endpointPickerRef": reference });
    let mut fixture = Fixture::with(
        vec![],
        vec![
            pool("prod/empty", 0, 9002, no_changes()),
            pool("test/other-namespace", 0, 9003, no_changes()),
            pool("prod/other-service", 0, 9002, other(json!({ "name": "another" }))),
            pool("prod/other-kind", 0, 9002, other(json!({ "kind": "Picker", "group": "example.com" }))),
            pool("prod/no-picker", 0, 9002, other(Value::Null)),
            pool(
                "prod/other-and-invalid",
                0,
                9002,
                json!({ "selector": {}, "endpointPickerRef": { "name": "x" } }),
            ),
        ],
    );
    assert_eq!(served(&["prod/empty:9002", "test/other-namespace:9003"], &[]), shown(&mut fixture));
    assert!(fixture.pool("prod", "empty").spec.endpoints.is_empty());
}

#[test]
fn named_pools_are_served_whatever_their_picker() {
    let id = |name: &str| PoolId { namespace: "prod".to_owned(), name: name.to_owned() };
    let selection = PoolSelection::Named(vec![id("a"), id("b"), id("missing")]);
    let mut fixture = Fixture::new(Rules { selection, service_ports: None, ..rules() });
    let without_picker = json!({ "endpointPickerRef": null });
    for (resource, object) in [
        pool("prod/a", 0, 9002, json!({ "endpointPickerRef": { "name": "other" } })),
        pool("prod/b", 0, 9002, without_picker),
        pool("prod/c", 0, 9002, no_changes()),
    ] {
        fixture.catalog.handle(Input::Applied(resource, object));
    }
    assert_eq!(served(&["prod/a:9002", "prod/b:0"], &[]), shown(&mut fixture));
}

#[test]
fn a_pool_on_a_port_that_is_not_open_or_that_makes_no_sense_is_left_out() {
    let mut fixture = Fixture::with(
        vec![],
        vec![
            pool("prod/good", 0, 9004, no_changes()),
            pool("prod/wrong-port", 0, 9005, no_changes()),
            pool("prod/selects-all", 0, 9003, json!({ "selector": { "matchLabels": null } })),
        ],
    );
    let rejected = ["prod/selects-all Invalid", "prod/wrong-port PortNotOpen"];
    assert_eq!(served(&["prod/good:9004"], &rejected), shown(&mut fixture));
    // It is reported once, and served when it is corrected.
    assert_eq!(served(&["prod/good:9004"], &[]), shown(&mut fixture));
    let (resource, object) = pool("prod/wrong-port", 0, 9002, no_changes());
    fixture.catalog.handle(Input::Applied(resource, object));
    assert_eq!(served(&["prod/good:9004", "prod/wrong-port:9002"], &[]), shown(&mut fixture));
}

#[test]
fn the_older_pool_keeps_its_port() {
    let (first, second) =
        (pool("prod/z-old", 1, 9002, no_changes()), pool("prod/a-new", 2, 9002, no_changes()));
    let same_age = pool("prod/zz", 1, 9002, no_changes());
    let mut fixture = Fixture::with(vec![], vec![second, same_age, first.clone()]);
    let rejected = ["prod/a-new PortTaken", "prod/zz PortTaken"];
    assert_eq!(served(&["prod/z-old:9002"], &rejected), shown(&mut fixture));
    fixture.catalog.handle(Input::Deleted(first.0, first.1));
    // The next older one gets it.
    assert_eq!(served(&["prod/zz:9002"], &["prod/a-new PortTaken"]), shown(&mut fixture));
}

#[test]
fn the_older_pool_keeps_its_port_whatever_its_namespace() {
    let pools = vec![pool("test/old", 1, 9002, no_changes()), pool("prod/new", 2, 9002, no_changes())];
    let mut fixture = Fixture::with(vec![], pools);
    assert_eq!(served(&["test/old:9002"], &["prod/new PortTaken"]), shown(&mut fixture));
    // Of two of the same age, the name decides.
    let pools = vec![pool("test/a", 1, 9002, no_changes()), pool("prod/b", 1, 9002, no_changes())];
    let mut fixture = Fixture::with(vec![], pools);
    assert_eq!(served(&["prod/b:9002"], &["test/a PortTaken"]), shown(&mut fixture));
}

#[test]
fn conflicts_of_named_pools_are_told_and_another_service_keeps_its_pool() {
    let id = |name: &str| PoolId { namespace: "prod".to_owned(), name: name.to_owned() };
    let selection = PoolSelection::Named(["a", "b", "c", "d"].map(id).to_vec());
    let mut fixture = Fixture::new(Rules { selection, service_ports: None, ..rules() });
    let other = json!({ "endpointPickerRef": { "name": "other" } });
    for (resource, object) in [
        pool("prod/a", 1, 9002, no_changes()),
        pool("prod/b", 2, 9002, no_changes()),
        pool("prod/c", 3, 9002, other.clone()),
        pool("prod/d", 4, 9002, other.clone()),
        // It is not one of ours.
        pool("prod/e", 0, 9002, other),
    ] {
        fixture.catalog.handle(Input::Applied(resource, object));
    }
    let Refreshed { pools, rejections, .. } = fixture.refresh();
    assert_eq!(vec!["a", "c"], pools.pools.keys().map(|id| id.name.as_str()).collect::<Vec<_>>());
    let messages: Vec<_> = rejections.into_iter().map(|rejection| rejection.message).collect();
    let expected = [
        "port 9002 of the endpoint picker is already used by the older pool prod/a; use another port",
        "port 9002 of the endpoint picker is also that of the older pool prod/a, which names another Service; \
         replicas that serve all pools serve only that one; use another port",
        "port 9002 of the endpoint picker is already used by the older pool prod/c; use another port",
    ];
    assert_eq!(expected.to_vec(), messages);
}

#[test]
fn of_two_pools_with_one_name_the_older_counts() {
    let spec =
        json!({ "selector": { "app": "x" }, "targetPortNumber": 1, "extensionRef": { "name": "epp" } });
    let legacy = custom(resource(LEGACY, "inferencepools"), "prod/a", 1, &spec);
    let mut fixture = Fixture::with(vec![], vec![pool("prod/a", 2, 9003, no_changes()), legacy.clone()]);
    assert_eq!(served(&["prod/a:9002"], &["prod/a NameTaken"]), shown(&mut fixture));
    fixture.catalog.handle(Input::Deleted(legacy.0, legacy.1));
    assert_eq!(served(&["prod/a:9003"], &[]), shown(&mut fixture));
}

#[test]
fn a_change_of_a_pool_changes_its_endpoints() {
    let mut fixture = Fixture::with(
        vec![pod("prod/a", "10.0.0.1", no_changes())],
        vec![pool("prod/llama", 0, 9002, no_changes())],
    );
    assert_eq!(vec!["prod/llama: a-rank-0@10.0.0.1:8000"], fixture.shown().0);
    let before = fixture.pool("prod", "llama");
    let two_ports = json!({ "targetPorts": [{ "number": 8000 }, { "number": 9000 }] });
    let (resource, object) = pool("prod/llama", 0, 9003, two_ports);
    fixture.catalog.handle(Input::Applied(resource, object));
    assert_eq!(2, fixture.shown().0.len());
    assert_eq!(9003, fixture.pool("prod", "llama").port);
    let (resource, object) =
        pool("prod/llama", 0, 9002, json!({ "selector": { "matchLabels": { "x": "y" } } }));
    fixture.catalog.handle(Input::Applied(resource, object.clone()));
    assert_eq!((Vec::<String>::new(), vec![]), fixture.shown());
    fixture.catalog.handle(Input::Deleted(resource, object));
    assert!(fixture.refresh().pools.pools.is_empty());
    assert_eq!(1, before.spec.endpoints.len());
}

#[test]
fn a_pod_that_changes_nothing_keeps_the_specification() {
    let mut fixture = Fixture::with(
        vec![pod("prod/a", "10.0.0.1", no_changes())],
        vec![pool("prod/llama", 0, 9002, no_changes())],
    );
    let before = fixture.pool("prod", "llama").spec;
    fixture.catalog.handle(Input::Applied(PODS, pod("prod/a", "10.0.0.1", json!({ "spec": { "x": 1 } }))));
    let annotated = json!({ "metadata": { "annotations": { "x": "y" } } });
    fixture.catalog.handle(Input::Applied(PODS, pod("prod/a", "10.0.0.1", annotated)));
    assert!(std::sync::Arc::ptr_eq(&before, &fixture.pool("prod", "llama").spec));
}
