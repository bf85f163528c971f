//! What must hold for the rendered objects whatever the values are.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::render::{Rendered, items};

/// Checks all of it.
pub(crate) fn check(rendered: &Rendered) -> anyhow::Result<()> {
    let deployments: Vec<_> = rendered.kind("Deployment").collect();
    ensure!(deployments.len() >= 3, "Deployments are missing");
    for deployment in deployments {
        let name = deployment["metadata"]["name"].as_str().context("a Deployment without a name")?;
        check_deployment(rendered, deployment).with_context(|| format!("Deployment {name}"))?;
    }
    for service in rendered.kind("Service") {
        check_service(rendered, service)
            .with_context(|| format!("Service {}", service["metadata"]["name"]))?;
    }
    Ok(())
}

fn check_deployment(rendered: &Rendered, deployment: &Value) -> anyhow::Result<()> {
    let spec = &deployment["spec"];
    ensure!(spec["strategy"]["rollingUpdate"] == json!({ "maxUnavailable": 0, "maxSurge": 1 }), "not gentle");
    ensure!(spec["replicas"] == 2, "not two replicas");
    let template = &spec["template"];
    let labels = &template["metadata"]["labels"];
    ensure!(is_selected(&spec["selector"]["matchLabels"], labels), "its selector does not match");
    let is_aggregator = labels["app.kubernetes.io/component"] == "aggregator";
    check_pod(&template["spec"], is_aggregator)?;
    let selecting = |kind, selector: fn(&Value) -> &Value| {
        let found = rendered.kind(kind).find(|object| is_selected(selector(object), labels));
        found.with_context(|| format!("there is no {kind}"))
    };
    let budget = selecting("PodDisruptionBudget", |object| &object["spec"]["selector"]["matchLabels"])?;
    ensure!(budget["spec"]["maxUnavailable"] == 1, "more than one pod may be disrupted");
    let account = template["spec"]["serviceAccountName"].as_str().context("no ServiceAccount")?;
    ensure!(rendered.object("ServiceAccount", account)?["automountServiceAccountToken"] == false, "a token");
    let policy = selecting("NetworkPolicy", |object| &object["spec"]["podSelector"]["matchLabels"])?;
    check_policy(policy, &template["spec"]["containers"][0])
}

fn check_pod(pod: &Value, is_aggregator: bool) -> anyhow::Result<()> {
    ensure!(pod["automountServiceAccountToken"] == is_aggregator, "only aggregators have a token");
    let security = &pod["securityContext"];
    ensure!(security["runAsNonRoot"] == true && security["runAsUser"] == 65_532, "runs as root");
    ensure!(security["seccompProfile"]["type"] == "RuntimeDefault", "no seccomp profile");
    let keys: Vec<_> =
        items(&pod["topologySpreadConstraints"]).iter().map(|spread| &spread["topologyKey"]).collect();
    ensure!(keys == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"], "not spread: {keys:?}");
    let [container] = items(&pod["containers"]) else { anyhow::bail!("not one container") };
    let restricted = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] }
    });
    ensure!(container["securityContext"] == restricted, "not restricted");
    for resource in ["cpu", "memory"] {
        ensure!(!container["resources"]["requests"][resource].is_null(), "requests no {resource}");
    }
    ensure!(!container["resources"]["limits"]["memory"].is_null(), "no limit of memory");
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let probe = &container[probe];
        let port = if probe["grpc"].is_null() { &probe["httpGet"]["port"] } else { &probe["grpc"]["port"] };
        ensure!(container_port(container, port).is_some(), "probes {port}, which is not open");
    }
    let volumes: Vec<_> = items(&pod["volumes"]).iter().map(|volume| &volume["name"]).collect();
    let mounts = items(&container["volumeMounts"]).iter().map(|mount| &mount["name"]);
    let unknown: Vec<_> = mounts.filter(|mount| !volumes.contains(mount)).collect();
    ensure!(unknown.is_empty(), "mounts {unknown:?}, which are no volumes");
    Ok(())
}

/// Checks that a policy allows open ports only, and all of them but Envoy's port for the node.
fn check_policy(policy: &Value, container: &Value) -> anyhow::Result<()> {
    let rules = items(&policy["spec"]["ingress"]).iter().flat_map(|rule| items(&rule["ports"]));
    let ranges: Vec<_> =
        rules.map(|rule| (&rule["port"], rule.get("endPort").unwrap_or(&rule["port"]))).collect();
    let ranges: Vec<_> =
        ranges.into_iter().filter_map(|(first, last)| Some(first.as_u64()?..=last.as_u64()?)).collect();
    let open: Vec<_> =
        items(&container["ports"]).iter().filter_map(|port| port["containerPort"].as_u64()).collect();
    for range in &ranges {
        ensure!(range.clone().all(|port| open.contains(&port)), "allows {range:?}, which are not open");
    }
    let closed: Vec<_> =
        open.iter().filter(|port| !ranges.iter().any(|range| range.contains(port))).collect();
    ensure!(closed.is_empty() || (container["name"] == "proxy" && closed == [&19_001]), "forbids {closed:?}");
    Ok(())
}

/// Checks that a Service leads to ports that its pods open, under the same numbers.
fn check_service(rendered: &Rendered, service: &Value) -> anyhow::Result<()> {
    let selector = &service["spec"]["selector"];
    let pods = rendered.kind("Deployment").map(|deployment| &deployment["spec"]["template"]);
    let pod = pods.into_iter().find(|pod| is_selected(selector, &pod["metadata"]["labels"]));
    let container = &pod.context("no pod has its labels")?["spec"]["containers"][0];
    for port in items(&service["spec"]["ports"]) {
        let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
        let number = container_port(container, target).with_context(|| format!("{target} is not open"))?;
        ensure!(port["port"] == number, "port {} leads to {number}", port["port"]);
    }
    Ok(())
}

/// Returns the number of an open port that is given by its name or number.
fn container_port(container: &Value, port: &Value) -> Option<u64> {
    let mut open = items(&container["ports"]).iter();
    open.find(|open| open["name"] == *port || open["containerPort"] == *port)?["containerPort"].as_u64()
}

fn is_selected(selector: &Value, labels: &Value) -> bool {
    let selector = selector.as_object();
    selector.is_some_and(|selector| selector.iter().all(|(name, value)| labels[name] == *value))
}
