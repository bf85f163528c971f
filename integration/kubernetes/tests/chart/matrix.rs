//! The values with which the chart is tested.

use serde_json::{Value, json};

/// Returns values that use every mode and source, each with a name.
pub(crate) fn matrix() -> Vec<(&'static str, Value)> {
    let [pool, second] = pools();
    vec![
        ("defaults", Value::Null),
        ("standalone", json!({ "mode": "standalone", "pools": [pool.clone()] })),
        (
            "standalone with access log",
            json!({ "mode": "standalone", "pools": [pool.clone(), second.clone()], "proxy": { "responses": "access-log" } }),
        ),
        (
            "plaintext",
            json!({ "mode": "standalone", "pools": [pool.clone()], "tls": { "enabled": false }, "epp": { "secureServing": false } }),
        ),
        ("cert-manager", json!({ "tls": { "certManager": { "enabled": true } } })),
        (
            "cert-manager with an issuer",
            json!({ "tls": {
                "certManager": { "enabled": true, "issuerRef": { "name": "vault", "kind": "ClusterIssuer" } },
                "names": { "aggregator": "spiffe://example.com/aggregator" },
            } }),
        ),
        (
            "existing secrets",
            json!({ "tls": { "existingSecrets": { "aggregator": "one", "collector": "one", "epp": "two" } } }),
        ),
        ("keda", autoscaled(&json!({ "keda": { "enabled": true } }))),
        ("keda without TLS", {
            let mut values = autoscaled(&json!({ "keda": { "enabled": true } }));
            values["tls"] = json!({ "enabled": false });
            values
        }),
        ("hpa", autoscaled(&json!({ "hpa": { "enabled": true, "externalMetrics": true } }))),
        ("hpa with cert-manager", {
            let mut values = autoscaled(&json!({ "hpa": { "enabled": true } }));
            values["tls"] = json!({ "certManager": { "enabled": true } });
            values
        }),
        (
            "both autoscalers with existing secrets",
            json!({
                "autoscaling": { "keda": { "enabled": true }, "hpa": { "enabled": true, "caBundle": "PEM" } },
                "tls": { "existingSecrets": { "aggregator": "one", "collector": "one", "epp": "two", "autoscaler": "three" } },
            }),
        ),
        ("watched namespaces", json!({ "watchNamespaces": ["inference", "team-a"] })),
        ("all namespaces", json!({ "watchAllNamespaces": true })),
        (
            "istio",
            json!({
                "provider": { "name": "istio", "istio": { "destinationRule": { "trafficPolicy": { "connectionPool": { "http": { "maxRequestsPerConnection": 9 } } } } } },
                "pools": [pool.clone(), second.clone()], "httpRoute": { "create": true, "inferenceGatewayNamespace": "gateways" },
            }),
        ),
        (
            "gke",
            json!({ "provider": { "name": "gke" }, "pools": [pool, second], "httpRoute": { "create": true } }),
        ),
        ("ipv6", json!({ "ipv6": true })),
        (
            "monitoring",
            json!({ "monitoring": { "prometheus": { "enabled": true, "extraLabels": { "release": "kps" } } } }),
        ),
        (
            "scrape annotations",
            json!({ "monitoring": { "provider": { "name": "annotations" }, "prometheus": { "enabled": true } } }),
        ),
        ("everything else", everything_else()),
    ]
}

/// Values with these autoscalers and a pool of two Deployments.
fn autoscaled(autoscalers: &Value) -> Value {
    let [mut pool, _] = pools();
    pool["autoscaling"] = json!([
        { "deployment": "llama3-large", "maxReplicas": 8, "labels": { "deployment": "large" } },
        { "deployment": "llama3-small", "minReplicas": 0, "maxReplicas": 30, "labels": { "deployment": "small" } },
    ]);
    json!({ "pools": [pool], "autoscaling": autoscalers })
}

fn pools() -> [Value; 2] {
    let pool = json!({
        "name": "llama3",
        "modelServers": { "matchLabels": { "app": "llama3" } },
        "inferenceObjectives": [{ "name": "interactive", "priority": 10 }],
        "inferenceModelRewrites": [{ "name": "canary", "rules": [{
            "matches": [{ "model": { "type": "Exact", "value": "llama3" } }],
            "targets": [{ "weight": 1_000_000, "modelRewrite": "v1" }, { "weight": 1, "modelRewrite": "v2" }],
        }] }],
        "httpRoute": { "hostnames": ["llama3.example.com"] },
    });
    let second = json!({
        "name": "qwen",
        "port": 9001,
        "proxyPort": 8082,
        "modelServers": { "matchLabels": { "app": "qwen" }, "targetPorts": [{ "number": 8000 }, { "number": 8001 }], "protocol": "grpc" },
        "inferencePool": { "failureMode": "FailClose" },
        "httpRoute": { "pathPrefix": "/qwen", "headerMatches": { "x-model": "qwen" } },
    });
    [pool, second]
}

/// Values that are maps and lists of users, and the rest.
fn everything_else() -> Value {
    json!({
        "commonLabels": { "team": "ml" },
        "imagePullSecrets": [{ "name": "registry" }],
        "image": { "tag": "1.2.3" },
        "logFormat": "text",
        "tracing": { "enabled": true },
        "networkPolicy": { "from": [{ "namespaceSelector": {} }], "metricsFrom": [{ "podSelector": {} }] },
        "epp": {
            "pluginsConfig": {
                "apiVersion": "llm-d.ai/v1alpha1",
                "kind": "EndpointPickerConfig",
                "plugins": [{ "type": "queue-scorer" }, { "type": "prefix-cache-scorer" }],
            },
            "certSecret": "serving",
            "poolPorts": 100,
            "bufferLimitBytes": 4_294_967_296_u64,
            "flags": { "v": 4, "fallback-endpoints": 2, "emit-endpoint-scores": true, "body-limit": 12_345_678 },
            "drainTimeoutSeconds": 1_000_000,
            "env": [{ "name": "RUST_LOG", "value": "debug" }],
            "volumes": [{ "name": "more", "emptyDir": {} }],
            "volumeMounts": [{ "name": "more", "mountPath": "/more" }],
            "podAnnotations": { "example.com/a": "b" },
            "podLabels": { "example.com/c": "d" },
            "affinity": { "nodeAffinity": {} },
            "tolerations": [{ "key": "gpu", "operator": "Exists" }],
            "nodeSelector": { "kubernetes.io/os": "linux" },
            "priorityClassName": "high",
            "service": { "clusterIP": "None", "appProtocol": "grpc", "annotations": { "a": "b" } },
        },
        "aggregator": { "flags": { "pool-drain": "2000000s", "failback-after": "10s" } },
        "collector": { "metricsCaConfigMap": "model-servers", "flags": { "scrape-interval": "100ms", "scrape-max-page-bytes": 10_000_000 } },
    })
}
