//! From pods to endpoints.

use serde_json::{Value, json};
use signalbox_types::{Engine, MetricsTls};

use super::fixtures::{Fixture, annotations, deleted, not_ready, pod, pool};
use crate::catalog::Input;
use crate::objects::{Object, PODS};

/// Shows the endpoints and rejections of one pool `prod/llama` with the target ports 8000 and 8001.
fn shown(pods: Vec<Object>) -> (Vec<String>, Vec<String>) {
    let ports = json!({ "targetPorts": [{ "number": 8000 }, { "number": 8001 }] });
    Fixture::with(pods, vec![pool("prod/llama", 0, 9002, ports)]).shown()
}

fn no_changes() -> Value {
    json!({})
}

#[test]
fn each_ready_pod_is_an_endpoint_per_target_port() {
    let other_label = json!({ "metadata": { "labels": { "app": "other" } } });
    let pods = vec![
        pod("prod/b", "10.0.0.2", no_changes()),
        pod("prod/a", "fd00::1", no_changes()),
        pod("prod/not-ready", "10.0.0.3", not_ready()),
        pod("prod/no-ip", "", no_changes()),
        pod("prod/other", "10.0.0.4", other_label),
        pod("test/other-namespace", "10.0.0.5", no_changes()),
    ];
    let expected = [
        "prod/llama: a-rank-0@[fd00::1]:8000",
        "prod/llama: a-rank-1@[fd00::1]:8001",
        "prod/llama: b-rank-0@10.0.0.2:8000",
        "prod/llama: b-rank-1@10.0.0.2:8001",
    ];
    assert_eq!((expected.map(str::to_owned).to_vec(), vec![]), shown(pods));
}

#[test]
fn a_pod_that_is_being_deleted_drains_until_it_is_gone() {
    let mut fixture = Fixture::with(
        vec![pod("prod/a", "10.0.0.1", no_changes())],
        vec![pool("prod/llama", 0, 9002, no_changes())],
    );
    assert_eq!(vec!["prod/llama: a-rank-0@10.0.0.1:8000"], fixture.shown().0);
    let mut not_ready_either = deleted();
    not_ready_either["status"] = not_ready()["status"].clone();
    for change in [deleted(), not_ready_either] {
        fixture.catalog.handle(Input::Applied(PODS, pod("prod/a", "10.0.0.1", change)));
        assert_eq!(vec!["prod/llama: a-rank-0@10.0.0.1:8000 draining"], fixture.shown().0);
    }
    fixture.catalog.handle(Input::Deleted(PODS, pod("prod/a", "10.0.0.1", deleted())));
    assert_eq!(Vec::<String>::new(), fixture.shown().0);
}

#[test]
fn a_deleted_pod_that_never_ran_or_has_ended_is_no_endpoint() {
    for phase in ["Pending", "Succeeded", "Failed"] {
        let mut change = deleted();
        change["status"] = json!({ "phase": phase });
        assert_eq!((vec![], vec![]), shown(vec![pod("prod/a", "10.0.0.1", change)]), "{phase}");
    }
}

#[test]
fn active_ports_limit_the_target_ports() {
    let active = |key: &str, value: &str| pod("prod/a", "10.0.0.1", annotations(&json!({ key: value })));
    let ranks = |pod| {
        let (endpoints, rejected) = shown(vec![pod]);
        let rank = |endpoint: &String| endpoint["prod/llama: a-rank-".len()..].chars().next().unwrap();
        (endpoints.iter().map(rank).collect::<String>(), rejected)
    };
    assert_eq!(("1".to_owned(), vec![]), ranks(active("llm-d.ai/active-ports", "8001")));
    assert_eq!(("01".to_owned(), vec![]), ranks(active("llm-d.ai/active-ports", " 8001, 8000,")));
    assert_eq!(("0".to_owned(), vec![]), ranks(active("inference.networking.k8s.io/active-ports", "8000,9")));
    assert_eq!((String::new(), vec![]), ranks(active("llm-d.ai/active-ports", "")));
    let both = annotations(
        &json!({ "llm-d.ai/active-ports": "8001", "inference.networking.k8s.io/active-ports": "8000" }),
    );
    assert_eq!(("1".to_owned(), vec![]), ranks(pod("prod/a", "10.0.0.1", both)));
    let reported = || vec!["Pod prod/a InvalidSetting".to_owned()];
    assert_eq!(("0".to_owned(), reported()), ranks(active("llm-d.ai/active-ports", "8000,x")));
    assert_eq!((String::new(), reported()), ranks(active("llm-d.ai/active-ports", "x")));
}

#[test]
fn garbage_in_active_ports_is_reported_with_what_applies() {
    let message = |value: &str| {
        let pod = pod("prod/a", "10.0.0.1", annotations(&json!({ "llm-d.ai/active-ports": value })));
        let mut fixture = Fixture::with(vec![pod], vec![pool("prod/llama", 0, 9002, no_changes())]);
        fixture.refresh().rejections.remove(0).message
    };
    let start = |value: &str| {
        format!(
            "annotation llm-d.ai/active-ports: \"{value}\" is not a list of ports; write it like 8000,8001; "
        )
    };
    assert_eq!(start("x,8001,0,8000") + "using 8001,8000 only", message("x,8001,0,8000"));
    assert_eq!(start("all") + "until then the pod takes no requests", message("all"));
}

#[test]
fn annotations_and_labels_override_the_defaults() {
    let changes = json!({ "metadata": {
        "labels": {
            "llm-d.ai/engine-type": "sglang",
            "inference.networking.k8s.io/engine-type": "tgi",
            "inference.networking.k8s.io/role": "decode",
        },
        "annotations": {
            "signalbox.dev/metrics-port": "9100",
            "signalbox.dev/metrics-path": "/m?x=1",
            "signalbox.dev/metrics-scheme": "https",
            "signalbox.dev/metrics-insecure-skip-verify": "true",
            "signalbox.dev/cost": "2.5",
        },
    } });
    let pods = vec![pod("prod/a", "10.0.0.1", changes), pod("prod/b", "fd00::2", no_changes())];
    let mut fixture = Fixture::with(pods, vec![pool("prod/llama", 0, 9002, no_changes())]);
    let spec = fixture.pool("prod", "llama").spec;
    let [a, b] = spec.endpoints.as_slice() else { panic!("two endpoints") };
    assert_eq!(("https://10.0.0.1:9100/m?x=1", MetricsTls::Unverified), (&*a.metrics_url, a.metrics_tls));
    assert_eq!(
        (Engine::Sglang, Some("decode")),
        (a.engine.clone(), a.labels.get("llm-d.ai/role").map(String::as_str))
    );
    assert_eq!((Some(2.5), None), (a.cost(), b.cost()));
    assert_eq!(Some("vllm"), a.labels.get("app").map(String::as_str));
    assert_eq!(("http://[fd00::2]:8000/metrics", MetricsTls::Verified), (&*b.metrics_url, b.metrics_tls));
    assert_eq!((Engine::Vllm, 1), (b.engine.clone(), b.labels.len()));
}

#[test]
fn garbage_in_annotations_is_reported_and_the_defaults_apply() {
    let changes = json!({ "metadata": {
        "labels": { "llm-d.ai/engine-type": "warp" },
        "annotations": {
            "signalbox.dev/metrics-port": "70000",
            "signalbox.dev/metrics-path": "no slash",
            "signalbox.dev/metrics-scheme": "ftp",
            "signalbox.dev/metrics-insecure-skip-verify": "maybe",
            "signalbox.dev/cost": "-1",
        },
    } });
    let pods = vec![pod("prod/a", "10.0.0.1", changes)];
    let mut fixture = Fixture::with(pods, vec![pool("prod/llama", 0, 9002, no_changes())]);
    let messages: Vec<_> =
        fixture.refresh().rejections.into_iter().map(|rejection| rejection.message).collect();
    let expected = [
        "annotation signalbox.dev/cost: \"-1\" is not usable; write a positive number; using the default",
        "annotation signalbox.dev/metrics-insecure-skip-verify: \"maybe\" is not usable; write true or false; using the default",
        "annotation signalbox.dev/metrics-path: \"no slash\" is not usable; write a path such as /metrics; using the default",
        "annotation signalbox.dev/metrics-port: \"70000\" is not usable; write a port from 1 to 65535; using the default",
        "annotation signalbox.dev/metrics-scheme: \"ftp\" is not usable; write http or https; using the default",
        "label llm-d.ai/engine-type: unknown engine \"warp\"; use one of: vllm, sglang, trtllm-serve, triton-tensorrt-llm, triton, tgi, llamacpp, ray-vllm; using vllm",
    ];
    assert_eq!(expected.to_vec(), messages);
    let spec = fixture.pool("prod", "llama").spec;
    assert_eq!("http://10.0.0.1:8000/metrics", spec.endpoints[0].metrics_url);
    assert_eq!(
        (Engine::Vllm, MetricsTls::Verified),
        (spec.endpoints[0].engine.clone(), spec.endpoints[0].metrics_tls)
    );
}

#[test]
fn an_address_belongs_to_the_pod_that_lives() {
    let later = || json!({ "metadata": { "creationTimestamp": "2026-01-31T12:00:09Z" } });
    let mut later_deleted = later();
    later_deleted["metadata"]["deletionTimestamp"] = deleted()["metadata"]["deletionTimestamp"].clone();
    let one_port = |pods| Fixture::with(pods, vec![pool("prod/llama", 0, 9002, no_changes())]).shown();
    let reused = vec![pod("prod/old", "10.0.0.1", deleted()), pod("prod/new", "10.0.0.1", later())];
    assert_eq!((vec!["prod/llama: new-rank-0@10.0.0.1:8000".to_owned()], vec![]), one_port(reused));
    let reused = vec![pod("prod/old", "10.0.0.1", no_changes()), pod("prod/new", "10.0.0.1", later_deleted)];
    assert_eq!((vec!["prod/llama: old-rank-0@10.0.0.1:8000".to_owned()], vec![]), one_port(reused));
    let both = vec![pod("prod/old", "10.0.0.1", no_changes()), pod("prod/new", "10.0.0.1", later())];
    let expected = vec!["prod/llama: new-rank-0@10.0.0.1:8000".to_owned()];
    assert_eq!((expected, vec!["Pod prod/old AddressTaken".to_owned()]), one_port(both));
}
