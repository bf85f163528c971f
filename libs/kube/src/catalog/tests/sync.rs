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

fn scope(namespace: &str) -> Scope {
    Scope::Namespace(namespace.into())
}

fn objectives() -> Resource {
    resource(LLM_D, "inferenceobjectives")
}

/// The objects of `resource` in `prod` or `test`.
fn listed_in(namespace: &str, resource: Resource) -> Input {
    let object = match resource {
        PODS => Some(pod(&format!("{namespace}/a"), "10.0.0.1", json!({}))),
        _ if resource == pools_v1() => {
            let port = if namespace == "prod" { 9002 } else { 9003 };
            Some(pool(&format!("{namespace}/llama"), 0, port, json!({})).1)
        }
        _ => None,
    };
    Input::Listed { resource, scope: scope(namespace), objects: object.into_iter().collect() }
}

fn refused_in(namespace: &str, resource: Resource) -> Input {
    Input::Refused { resource, scope: scope(namespace) }
}

/// The namespaces whose pool is published, with its number of endpoints; `None` before all is synced.
fn published(catalog: &mut Catalog) -> Option<Vec<(String, usize)>> {
    let pools = catalog.refresh()?.pools;
    assert!(pools.is_synced);
    Some(pools.pools.into_iter().map(|(id, pool)| (id.namespace, pool.spec.endpoints.len())).collect())
}

fn shown(namespaces: &[&str]) -> Option<Vec<(String, usize)>> {
    Some(namespaces.iter().map(|namespace| ((*namespace).to_owned(), 1)).collect())
}

#[test]
fn nothing_is_published_before_everything_is_listed_or_refused() {
    let mut catalog = Catalog::new(rules(), vec![scope("prod"), scope("test")]);
    let inputs = [
        listed_in("prod", PODS),
        listed_in("test", PODS),
        watched(&[pools_v1(), objectives()]),
        listed_in("prod", pools_v1()),
        listed_in("prod", objectives()),
        listed_in("test", pools_v1()),
    ];
    for input in inputs {
        catalog.handle(input);
        assert!(catalog.refresh().is_none());
    }
    // Pools can do without what only has model rules.
    catalog.handle(refused_in("test", objectives()));
    assert_eq!(shown(&["prod", "test"]), published(&mut catalog));
    // A resource that comes later does not make it unsynced.
    catalog.handle(watched(&[pools_v1(), objectives(), resource(LEGACY, "inferencepools")]));
    assert_eq!(shown(&["prod", "test"]), published(&mut catalog));
}

#[test]
fn refused_pods_and_pools_are_not_empty_ones() {
    for refused in [PODS, pools_v1()] {
        let other = if refused == PODS { pools_v1() } else { PODS };
        let mut catalog = Catalog::new(rules(), vec![scope("prod")]);
        catalog.handle(watched(&[pools_v1()]));
        catalog.handle(refused_in("prod", refused));
        assert_eq!(None, published(&mut catalog));
        catalog.handle(listed_in("prod", other));
        assert_eq!(None, published(&mut catalog));
        catalog.handle(listed_in("prod", refused));
        assert_eq!(shown(&["prod"]), published(&mut catalog));
        // A right that is taken away later leaves what is known.
        catalog.handle(refused_in("prod", refused));
        assert_eq!(shown(&["prod"]), published(&mut catalog));
    }
}

#[test]
fn a_namespace_where_pods_or_pools_are_refused_is_held_back_alone() {
    for refused in [PODS, pools_v1()] {
        let other = if refused == PODS { pools_v1() } else { PODS };
        let mut catalog = Catalog::new(rules(), vec![scope("prod"), scope("test")]);
        catalog.handle(watched(&[pools_v1()]));
        catalog.handle(listed_in("test", other));
        catalog.handle(refused_in("test", refused));
        catalog.handle(listed_in("prod", refused));
        assert_eq!(None, published(&mut catalog));
        catalog.handle(listed_in("prod", other));
        assert_eq!(shown(&["prod"]), published(&mut catalog));
        catalog.handle(listed_in("test", refused));
        assert_eq!(shown(&["prod", "test"]), published(&mut catalog));
    }
}

#[test]
fn nothing_is_published_while_every_namespace_is_held_back() {
    let mut catalog = Catalog::new(rules(), vec![scope("prod"), scope("test")]);
    catalog.handle(watched(&[pools_v1()]));
    for namespace in ["prod", "test"] {
        catalog.handle(listed_in(namespace, pools_v1()));
        catalog.handle(refused_in(namespace, PODS));
    }
    assert_eq!(None, published(&mut catalog));
    catalog.handle(listed_in("test", PODS));
    assert_eq!(shown(&["test"]), published(&mut catalog));
}

#[test]
fn refreshes_tell_all_rejections_when_they_change() {
    let mut catalog = Catalog::new(rules(), vec![Scope::All]);
    catalog.handle(watched(&[pools_v1()]));
    catalog.handle(listed(PODS, vec![]));
    let pools = ["a", "b"].map(|name| pool(&format!("prod/{name}"), 0, 1, json!({})).1);
    catalog.handle(listed(pools_v1(), pools.to_vec()));
    let mut told = |input: Option<Input>| {
        input.into_iter().for_each(|input| catalog.handle(input));
        let refreshed = catalog.refresh().unwrap();
        (refreshed.rejections.len(), refreshed.in_force.map(|in_force| in_force.len()))
    };
    assert_eq!((2, Some(2)), told(None));
    assert_eq!((0, None), told(None));
    let [a, b] = pools;
    assert_eq!((0, Some(1)), told(Some(Input::Deleted(pools_v1(), a))));
    assert_eq!((0, Some(0)), told(Some(Input::Deleted(pools_v1(), b))));
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
