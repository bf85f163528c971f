//! Values that the chart refuses.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use serde_json::{Map, Value, json};
use signalbox_integration::TestDir;
use signalbox_kubernetes_tests::{Helm, HelmVersion};

use crate::render::{repository_file, template, yaml};

/// A key that no object has.
const UNKNOWN: &str = "unknownKey";

/// Values whose keys are not the chart's: they belong to Kubernetes, to Istio, to a service or to the user.
const FREE: [&str; 13] = [
    "affinity",
    "annotations",
    "commonLabels",
    "extraLabels",
    "flags",
    "limits",
    "nodeSelector",
    "pluginsConfig",
    "podAnnotations",
    "podLabels",
    "requests",
    "serviceAccountAnnotations",
    "trafficPolicy",
];

/// Checks that an unknown key is refused in every map of the chart's values, and taken in those that are free.
pub(crate) async fn check_maps(dir: &TestDir) -> anyhow::Result<()> {
    let documents = yaml(&repository_file("helm/signalbox/values.yaml")?)?;
    let values = documents.first().context("the chart has no values")?;
    let mut paths = Vec::new();
    maps(values, &mut Vec::new(), &mut paths);
    ensure!(paths.len() > 30, "there are only {} maps", paths.len());
    let helm = Helm::new(HelmVersion::V4, dir.path(), None)?;
    let mut free = BTreeSet::new();
    for path in paths {
        let values = path.iter().rev().fold(json!({ "unknown": "x" }), |inner, key| json!({ *key: inner }));
        let refused = template(&helm, &values).await.err().map(|error| error.to_string());
        match (refused, path.last().filter(|key| FREE.contains(key))) {
            (None, Some(key)) => drop(free.insert(*key)),
            (None, None) => anyhow::bail!("accepts {values}"),
            (Some(error), Some(_)) => anyhow::bail!("refuses {values}: {error}"),
            (Some(error), None) => ensure!(error.contains("unknown"), "{values}: {error}"),
        }
    }
    ensure!(free.iter().eq(&FREE), "free are only {free:?}");
    Ok(())
}

/// Collects the paths of all maps. The map itself is the empty path.
fn maps<'a>(value: &'a Value, path: &mut Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) {
    let Value::Object(entries) = value else { return };
    found.push(path.clone());
    for (key, inner) in entries {
        path.push(key);
        maps(inner, path, found);
        path.pop();
    }
}

/// Checks that an unknown key is refused in every object of the schema.
pub(crate) async fn check_unknown_keys(dir: &TestDir, schema: &Value) -> anyhow::Result<()> {
    let mut paths = Vec::new();
    closed_objects(schema, schema, &mut Vec::new(), &mut paths);
    ensure!(paths.len() > 30, "the schema has only {} objects", paths.len());
    let helm = Helm::new(HelmVersion::V4, dir.path(), None)?;
    for path in paths {
        let values = path.iter().rev().fold(json!({ UNKNOWN: 1 }), |inner, step| match step.as_str() {
            "[]" => json!([inner]),
            key => Value::Object(Map::from_iter([(key.to_owned(), inner)])),
        });
        let refused = template(&helm, &values).await.err();
        let refused = refused.with_context(|| format!("accepts {values}"))?.to_string();
        ensure!(refused.contains(UNKNOWN), "{values}: {refused}");
    }
    Ok(())
}

/// Collects the paths of the objects that have a fixed set of keys. An element of a list is `[]`.
fn closed_objects(root: &Value, schema: &Value, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let referred =
        schema["$ref"].as_str().and_then(|reference| root.pointer(reference.trim_start_matches('#')));
    let schema = referred.unwrap_or(schema);
    if schema["additionalProperties"] == false {
        found.push(path.clone());
    }
    let properties = schema["properties"].as_object().into_iter().flatten();
    let elements = schema.get("items").map(|items| ("[]", items));
    for (key, inner) in properties.map(|(key, inner)| (key.as_str(), inner)).chain(elements) {
        path.push(key.to_owned());
        closed_objects(root, inner, path, found);
        path.pop();
    }
}

/// Checks that combinations that cannot work are refused with a reason.
pub(crate) async fn check_impossible_values(dir: &TestDir) -> anyhow::Result<()> {
    let pool = |port: u16| json!({ "name": format!("p{port}"), "port": port, "modelServers": { "matchLabels": { "a": "b" } } });
    let standalone = |proxy_port: u16| {
        let mut pool = pool(9001);
        pool["proxyPort"] = proxy_port.into();
        json!({ "mode": "standalone", "pools": [pool] })
    };
    let scaled = |targets: &Value, is_enabled: bool| {
        let mut pool = pool(9001);
        pool["autoscaling"] = targets.clone();
        json!({ "pools": [pool], "autoscaling": { "keda": { "enabled": is_enabled } } })
    };
    let cases = [
        (json!({ "mode": "standalone" }), "pools"),
        (json!({ "mode": "sidecar" }), "mode"),
        (json!({ "pools": [pool(9100)] }), "the Service opens 8987-9002"),
        (json!({ "pools": [pool(9001), pool(9001)] }), "two entries"),
        (json!({ "mode": "standalone", "pools": [pool(9001), pool(9002)] }), "proxyPort 8081"),
        (json!({ "pools": [{ "name": "a" }] }), "modelServers.matchLabels"),
        (json!({ "epp": { "poolPorts": 10, "grpcHealthPort": 9000 } }), "epp.grpcHealthPort"),
        (json!({ "epp": { "extProcPort": 1030 } }), "epp.poolPorts"),
        (json!({ "tls": { "existingSecrets": { "epp": "one" } } }), "all three"),
        (
            json!({ "autoscaling": { "keda": { "enabled": true } }, "tls": { "existingSecrets": { "aggregator": "a", "collector": "a", "epp": "a" } } }),
            "tls.existingSecrets.autoscaler: name",
        ),
        (
            json!({ "autoscaling": { "hpa": { "enabled": true } }, "tls": { "existingSecrets": { "aggregator": "a", "collector": "a", "epp": "a" } } }),
            "autoscaling.hpa.caBundle",
        ),
        (
            json!({ "autoscaling": { "hpa": { "enabled": true } }, "tls": { "enabled": false } }),
            "set tls.enabled",
        ),
        (
            json!({ "autoscaling": { "keda": { "enabled": true, "port": 9201 } } }),
            "autoscaling.keda.port: 9201 is aggregator.metricsPort",
        ),
        (scaled(&json!([{ "deployment": "d", "maxReplicas": 2 }]), false), "neither autoscaling.keda nor"),
        (
            scaled(&json!([{ "deployment": "d", "maxReplicas": 2, "minReplicas": 3 }]), true),
            "above its maxReplicas",
        ),
        (
            scaled(
                &json!([{ "deployment": "d", "maxReplicas": 2 }, { "deployment": "d", "maxReplicas": 3 }]),
                true,
            ),
            "two entries scale Deployment d",
        ),
        (scaled(&json!([{ "deployment": "d" }]), true), "maxReplicas"),
        (json!({ "watchNamespaces": ["a"], "pools": [pool(9001)] }), "watchNamespaces: "),
        (json!({ "watchNamespaces": ["a"], "watchAllNamespaces": true }), "exclude each other"),
        (json!({ "provider": { "name": "gke" } }), "provider.name"),
        (json!({ "tls": { "names": { "epp": "spiffe://example.com/epp" } } }), "tls.names.epp"),
        (json!({ "epp": { "metricsPort": 9003 } }), "epp.metricsPort: 9003 is epp.grpcHealthPort"),
        (json!({ "epp": { "metricsPort": 8990 } }), "epp.metricsPort: 8990 is one of the pool ports"),
        (json!({ "aggregator": { "metricsPort": 9200 } }), "aggregator.metricsPort: 9200 is aggregator.port"),
        (
            json!({ "mode": "standalone", "pools": [pool(9001)], "proxy": { "port": 19_001 } }),
            "proxy.port: 19001",
        ),
        (standalone(19_002), "pools: proxyPort of p9001: 19002"),
        (standalone(19_100), "pools: proxyPort of p9001: 19100"),
        (json!({ "epp": { "replicas": "two" } }), "replicas"),
        (json!({ "epp": { "podDisruptionBudget": { "minAvailable": 1 } } }), "minAvailable"),
    ];
    let helm = Helm::new(HelmVersion::V4, dir.path(), None)?;
    for (values, reason) in cases {
        let refused = template(&helm, &values).await.err();
        let refused = refused.with_context(|| format!("accepts {values}"))?.to_string();
        ensure!(refused.contains(reason), "{values}: {refused}");
    }
    Ok(())
}
