//! What is known before and after all objects were listed.

use std::collections::BTreeSet;

use serde_json::json;

use super::fixtures::{LEGACY, LLM_D, custom, pod, pool, pools_v1, resource, rules};
use crate::catalog::{Catalog, Input, Scope};
use crate::objects::{Object, PODS, Resource};

fn listed(resource: Resource, objects: Vec<Object>) -> Input {
    Input::Listed { resource, scope: Scope::All, objects }
}

fn watched(resources: &[Resource]) -> Input {
    Input::Watched(resources.iter().copied().collect())
}

#[test]
fn nothing_is_published_before_everything_is_listed_or_refused() {
    let scope = |namespace: &str| Scope::Namespace(namespace.into());
    let mut catalog = Catalog::new(rules(), vec![scope("prod"), scope("test")]);
    let llama = pool("prod/llama", 0, 9002, json!({})).1;
    let inputs = [
        Input::Listed {
            resource: PODS,
            scope: scope("prod"),
            objects: vec![pod("prod/a", "10.0.0.1", json!({}))],
        },
        Input::Listed { resource: PODS, scope: scope("test"), objects: vec![] },
        watched(&[pools_v1()]),
        Input::Listed { resource: pools_v1(), scope: scope("prod"), objects: vec![llama] },
    ];
    for input in inputs {
        catalog.handle(input);
        assert!(catalog.refresh().is_none());
    }
    catalog.handle(Input::Refused { resource: pools_v1(), scope: scope("test") });
    let pools = catalog.refresh().expect("synced").pools;
    assert!(pools.is_synced && pools.pools.len() == 1);
    assert_eq!(1, pools.pools.values().next().unwrap().spec.endpoints.len());
    // A resource that comes later does not make it unsynced.
    catalog.handle(watched(&[pools_v1(), resource(LLM_D, "inferenceobjectives")]));
    assert_eq!(1, catalog.refresh().expect("still synced").pools.pools.len());
}

#[test]
fn without_any_custom_resource_there_are_no_pools() {
    let mut catalog = Catalog::new(rules(), vec![Scope::All]);
    catalog.handle(listed(PODS, vec![]));
    assert!(catalog.refresh().is_none());
    catalog.handle(watched(&[]));
    assert!(catalog.refresh().expect("synced").pools.pools.is_empty());
}

#[test]
fn a_list_replaces_what_was_known_in_its_scope() {
    let mut catalog = Catalog::new(rules(), vec![Scope::All]);
    catalog.handle(watched(&[pools_v1()]));
    catalog.handle(listed(pools_v1(), vec![pool("prod/llama", 0, 9002, json!({})).1]));
    let deleted = json!({ "metadata": { "deletionTimestamp": "2026-01-31T13:00:00Z" } });
    catalog
        .handle(listed(PODS, vec![pod("prod/a", "10.0.0.1", deleted), pod("prod/b", "10.0.0.2", json!({}))]));
    let names = |catalog: &mut Catalog| {
        let pools = catalog.refresh().unwrap().pools.pools;
        let all = pools.into_values().flat_map(|pool| pool.spec.endpoints.clone());
        all.map(|endpoint| endpoint.name).collect::<Vec<_>>()
    };
    assert_eq!(vec!["a-rank-0", "b-rank-0"], names(&mut catalog));
    // The end of the draining pod was missed.
    catalog.handle(listed(
        PODS,
        vec![pod("prod/b", "10.0.0.2", json!({})), pod("prod/c", "10.0.0.3", json!({}))],
    ));
    assert_eq!(vec!["b-rank-0", "c-rank-0"], names(&mut catalog));
    catalog.handle(Input::Listed { resource: PODS, scope: Scope::Namespace("test".into()), objects: vec![] });
    assert_eq!(vec!["b-rank-0", "c-rank-0"], names(&mut catalog));
}

#[test]
fn objects_of_an_older_group_count_until_those_of_the_newer_are_listed() {
    let objectives = |version| resource(version, "inferenceobjectives");
    let of = |version, priority: i32| {
        let spec = json!({ "poolRef": { "name": "llama" }, "priority": priority });
        custom(objectives(version), "prod/o", 0, &spec).1
    };
    let mut catalog = Catalog::new(rules(), vec![Scope::All]);
    catalog.handle(listed(PODS, vec![]));
    catalog.handle(watched(&[pools_v1(), objectives(LEGACY)]));
    catalog.handle(listed(pools_v1(), vec![pool("prod/llama", 0, 9002, json!({})).1]));
    catalog.handle(listed(objectives(LEGACY), vec![of(LEGACY, 1)]));
    let priority = |catalog: &mut Catalog| {
        let pools = catalog.refresh().unwrap().pools.pools;
        pools.values().next().map(|pool| pool.spec.models.priority(Some("o")))
    };
    assert_eq!(Some(1), priority(&mut catalog));
    catalog.handle(watched(&[pools_v1(), objectives(LLM_D)]));
    assert_eq!(Some(1), priority(&mut catalog));
    catalog.handle(listed(objectives(LLM_D), vec![of(LLM_D, 2)]));
    assert_eq!(Some(2), priority(&mut catalog));
    // The resources go away.
    catalog.handle(watched(&[pools_v1()]));
    assert_eq!(Some(0), priority(&mut catalog));
    catalog.handle(Input::Watched(BTreeSet::new()));
    assert_eq!(None, priority(&mut catalog));
}
