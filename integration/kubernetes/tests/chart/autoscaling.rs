//! What the chart renders for autoscalers.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::args::{flag_value, flag_values};
use crate::render::{NAMESPACE, Rendered, items};

/// The Service of autoscalers.
const SERVICE: &str = "signalbox-autoscaling";

/// Checks that each Deployment of a pool has a ScaledObject that asks the aggregators, as whom they let in.
pub(crate) fn check_keda(rendered: &Rendered, has_tls: bool) -> anyhow::Result<()> {
    ensure!(rendered.kind("HorizontalPodAutoscaler").count() == 0, "two autoscalers");
    ensure!(rendered.kind("APIService").count() == 0, "takes an API of the cluster, which KEDA needs");
    for (name, least, group) in [("llama3-large", 1, "large"), ("llama3-small", 0, "small")] {
        let spec = &rendered.object("ScaledObject", name)?["spec"];
        ensure!(spec["scaleTargetRef"]["name"] == name && spec["minReplicaCount"] == least, "{spec}");
        check_behavior(&spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"])?;
        ensure!(spec["fallback"].is_null(), "a fallback would hide errors");
        let [trigger] = items(&spec["triggers"]) else { anyhow::bail!("not one trigger: {spec}") };
        let mut metadata = json!({
            "scalerAddress": format!("{SERVICE}.{NAMESPACE}.svc:9203"), "inferencePool": "llama3",
            "metric": "signalbox_desired_replicas", "deployment": group,
        });
        if has_tls {
            metadata["enableTLS"] = json!("true");
        }
        ensure!(trigger["type"] == "external-push" && trigger["metricType"] == "AverageValue", "{trigger}");
        ensure!(trigger["metadata"] == metadata, "{trigger}");
        ensure!(trigger["authenticationRef"].is_null() != has_tls, "{trigger}");
    }
    let arguments = rendered.args("aggregator")?;
    ensure!(flag_value(&arguments, "keda-port") == "9203", "{arguments:?}");
    if has_tls {
        let authentication = rendered.object("TriggerAuthentication", "signalbox-keda")?;
        let [authority, ..] = items(&authentication["spec"]["secretTargetRef"]) else {
            anyhow::bail!("{authentication}")
        };
        let secret = authority["name"].as_str().context("no Secret")?;
        let name =
            &rendered.object("Secret", secret)?["metadata"]["annotations"]["signalbox.dev/certificate-name"];
        let peer = format!("autoscaler={}", name.as_str().context("a certificate without a name")?);
        ensure!(flag_values(&arguments, "tls-peer").contains(&peer.as_str()), "does not let in {peer}");
    }
    check_service(rendered, has_tls)
}

/// Checks that each Deployment of a pool has an HPA that reads the pool, and that the API server finds the aggregators.
pub(crate) fn check_hpa(rendered: &Rendered) -> anyhow::Result<()> {
    ensure!(rendered.kind("ScaledObject").count() == 0, "two autoscalers");
    for (name, least, group) in [("llama3-large", 1, "large"), ("llama3-small", 0, "small")] {
        let spec = &rendered.object("HorizontalPodAutoscaler", name)?["spec"];
        ensure!(spec["scaleTargetRef"]["name"] == name && spec["minReplicas"] == least, "{spec}");
        check_behavior(&spec["behavior"])?;
        let object = &spec["metrics"][0]["object"];
        let pool = json!({ "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool", "name": "llama3" });
        let metric = json!({ "name": "signalbox_desired_replicas", "selector": { "matchLabels": { "deployment": group } } });
        ensure!(object["describedObject"] == pool && object["metric"] == metric, "{object}");
        ensure!(object["target"] == json!({ "type": "AverageValue", "averageValue": "1" }), "{object}");
    }
    for name in
        ["v1beta2.custom.metrics.k8s.io", "v1beta1.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"]
    {
        let spec = &rendered.object("APIService", name)?["spec"];
        ensure!(
            spec["service"] == json!({ "namespace": NAMESPACE, "name": SERVICE, "port": 6443 }),
            "{spec}"
        );
        let own = &rendered.object("Secret", "signalbox-aggregator-tls")?["data"]["ca.crt"];
        ensure!(spec["caBundle"] == *own, "{name}: another authority");
    }
    let arguments = rendered.args("aggregator")?;
    ensure!(arguments.contains(&"--external-metrics".to_owned()), "{arguments:?}");
    check_service(rendered, true)
}

/// Steps of one replica must not vanish in the tolerance of the autoscaler.
fn check_behavior(behavior: &Value) -> anyhow::Result<()> {
    for direction in ["scaleUp", "scaleDown"] {
        ensure!(behavior[direction]["tolerance"] == 0, "{direction}: {behavior}");
    }
    Ok(())
}

/// Checks that the Service has an address of its own, which an APIService needs, and that the certificate is for its name.
fn check_service(rendered: &Rendered, has_tls: bool) -> anyhow::Result<()> {
    let service = rendered.object("Service", SERVICE)?;
    ensure!(service["spec"]["clusterIP"].is_null(), "{service}");
    ensure!(
        service["spec"]["publishNotReadyAddresses"].is_null(),
        "leads to aggregators that know nothing yet"
    );
    if has_tls {
        let secret = rendered.object("Secret", "signalbox-aggregator-tls")?;
        let names = secret["metadata"]["annotations"]["signalbox.dev/certificate-name"].as_str();
        let host = format!("{SERVICE}.{NAMESPACE}.svc");
        ensure!(
            names.is_some_and(|names| names.split(',').any(|name| name == host)),
            "not for {host}: {names:?}"
        );
    }
    Ok(())
}
