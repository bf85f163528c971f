//! Pools of all forms, and what is wrong with invalid ones.

use serde_json::Value as Json;
use serde_json::json;
use signalbox_document::FileErrors;

use super::*;

fn read(api_version: &str, spec: &Json) -> (Option<InferencePool>, String) {
    let object = json!({
        "apiVersion": api_version,
        "kind": "InferencePool",
        "metadata": { "name": "llama3", "namespace": "prod", "creationTimestamp": "2026-01-31T12:00:00Z", "uid": "u" },
        "spec": spec,
        "status": { "parents": [] },
    });
    let mut problems = Problems::accepting_unknown_fields();
    let pool = read_inference_pool(&Node::from_json(&object), &mut problems);
    let shown: Vec<_> = FileErrors::from(problems)
        .problems()
        .iter()
        .map(|problem| format!("{}: {}", problem.path, problem.message))
        .collect();
    (pool, shown.join("\n"))
}

fn valid(api_version: &str, spec: &Json) -> InferencePool {
    let (pool, problems) = read(api_version, spec);
    assert_eq!("", problems);
    pool.unwrap()
}

fn problems(spec: &Json) -> String {
    read("inference.networking.k8s.io/v1", spec).1
}

#[test]
fn pools_of_version_v1_are_read() {
    let spec = json!({
        "selector": { "matchLabels": { "app": "vllm", "empty": "" } },
        "targetPorts": [{ "number": 8000 }, { "number": 8001 }],
        "appProtocol": "http",
        "endpointPickerRef": { "name": "signalbox-epp", "port": { "number": 9005 }, "failureMode": "FailOpen" },
    });
    let pool = valid("inference.networking.k8s.io/v1", &spec);
    assert_eq!(("llama3", Some(1_769_860_800_000)), (pool.metadata.name.as_str(), pool.metadata.created_ms));
    assert_eq!(vec![8000, 8001], pool.target_ports);
    assert_eq!(2, pool.selector.len());
    let picker = pool.picker.unwrap();
    assert!(picker.is_service("signalbox-epp") && !picker.is_service("other"));
    assert_eq!(Some(9005), picker.port);
}

#[test]
fn pools_of_version_v1alpha2_are_read_under_both_groups() {
    let flat = json!({
        "selector": { "app": "vllm" },
        "targetPortNumber": 8000,
        "extensionRef": { "name": "signalbox-epp" },
    });
    let pool = valid("inference.networking.x-k8s.io/v1alpha2", &flat);
    assert_eq!((vec![8000], Some(9002)), (pool.target_ports.clone(), pool.picker.clone().unwrap().port));
    let nested = json!({
        "selector": { "matchLabels": { "app": "vllm" } },
        "targetPortNumber": 8000,
        "extensionRef": { "group": "", "kind": "Service", "name": "signalbox-epp" },
    });
    assert_eq!(pool, valid("inference.networking.k8s.io/v1alpha2", &nested));
}

#[test]
fn a_pool_without_a_picker_is_valid() {
    let spec = json!({ "selector": { "matchLabels": { "a": "b" } }, "targetPorts": [{ "number": 1 }] });
    assert_eq!(None, valid("inference.networking.k8s.io/v1", &spec).picker);
}

#[test]
fn a_picker_that_is_not_a_service_is_kept_as_such() {
    let spec = json!({
        "selector": { "matchLabels": { "a": "b" } },
        "targetPorts": [{ "number": 1 }],
        "endpointPickerRef": { "group": "example.com", "kind": "Picker", "name": "x", "port": { "number": 1 } },
    });
    assert!(!valid("inference.networking.k8s.io/v1", &spec).picker.unwrap().is_service("x"));
}

#[test]
fn problems_are_reported_with_paths() {
    let spec = json!({
        "selector": { "matchLabels": {} },
        "targetPorts": [{ "number": 0 }, { "port": 1 }],
        "endpointPickerRef": { "name": "x" },
    });
    let expected = "\
spec.endpointPickerRef.port: missing; write port: { number: PORT }
spec.selector.matchLabels: must not be empty, because it would select every pod; write { matchLabels: { app: NAME } }
spec.targetPorts[0].number: must be a whole number from 1 to 65535
spec.targetPorts[1].number: missing; write number: PORT";
    assert_eq!(expected, problems(&spec));
    let spec = json!({
        "selector": { "matchExpressions": [] },
        "targetPorts": [{ "number": 1 }, { "number": 1 }],
        "extensionRef": { "name": "x", "portNumber": 65_536 },
    });
    let expected = "\
spec.extensionRef.portNumber: must be a whole number from 1 to 65535
spec.selector.matchExpressions: is not supported; write matchLabels
spec.targetPorts: names a port twice; remove one of them";
    assert_eq!(expected, problems(&spec));
    let expected = "\
spec.selector: missing; write selector: { matchLabels: { app: NAME } }
spec.targetPorts: missing; write targetPorts: [{ number: PORT }]";
    assert_eq!(expected, problems(&json!({})));
    let spec = json!({ "selector": { "matchLabels": null }, "targetPortNumber": 1 });
    assert_eq!("spec.selector.matchLabels: expected a mapping or {}, found nothing", problems(&spec));
    assert!(problems(&Json::Null).contains("spec: expected a mapping"));
    let nine: Vec<_> = (1..10).map(|number| json!({ "number": number })).collect();
    let spec = json!({ "selector": { "a": "b" }, "targetPorts": nine });
    assert_eq!("spec.targetPorts: must have 1 to 8 ports, not 9", problems(&spec));
    let (_, wrong_version) = read("v1", &json!({ "selector": { "a": "b" }, "targetPortNumber": 1 }));
    assert!(wrong_version.starts_with("apiVersion: \"v1\" is not supported"), "{wrong_version}");
}
