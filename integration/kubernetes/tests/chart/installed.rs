//! The chart in a cluster.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::{Client, TestDir, eventually};
use signalbox_kubernetes_tests::{Cluster, Helm, HelmVersion, Kubectl};

use crate::render::{CHART, NAMESPACE, items};

/// Kinds of objects in namespaces that the chart or the services create.
const KINDS: &str = "deployments,replicasets,pods,services,endpointslices,serviceaccounts,roles,rolebindings,secrets,configmaps,\
                     poddisruptionbudgets,networkpolicies,leases,inferencepools";

/// A model server in the pool.
const MODEL_SERVER: &str = r"
apiVersion: v1
kind: Pod
metadata: { name: server, namespace: inference, labels: { app: llama3 } }
spec:
  securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: RuntimeDefault } }
  containers:
    - name: server
      image: modelsim
      args: [--listen, '$(POD_IP):8000', --model, m]
      env: [{ name: POD_IP, valueFrom: { fieldRef: { fieldPath: status.podIP } } }]
      ports: [{ name: http, containerPort: 8000 }]
      readinessProbe: { httpGet: { path: /health, port: http }, periodSeconds: 1 }
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
";

/// Checks that the API server takes all objects and admits the pods into a restricted namespace, that an upgrade keeps the
/// certificates, and that nothing is left after an uninstallation.
///
/// `responses` is the mode of the proxy, through which requests must reach a model server.
pub(crate) async fn check(dir: &TestDir, version: HelmVersion, responses: &str) -> anyhow::Result<()> {
    let cluster = Cluster::start(dir).await?;
    cluster.install_released_crds().await?;
    let kubectl = cluster.kubectl();
    let labels = json!({ "pod-security.kubernetes.io/enforce": "restricted" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE, "labels": labels } });
    kubectl.apply(&namespace.to_string()).await?;
    // The controllers give each namespace some objects of its own.
    let empty = eventually("the namespace is set up", async || {
        let names = names(kubectl).await?;
        ensure!(names.len() == 2, "{names:?}");
        Ok(names)
    })
    .await?;

    let helm = Helm::new(version, dir.path(), Some(kubectl.kubeconfig()))?;
    let mut values = json!({
        "mode": "standalone",
        "watchAllNamespaces": true,
        "pools": [{ "name": "llama3", "modelServers": { "matchLabels": { "app": "llama3" } } }],
        "proxy": { "drainSeconds": 1, "responses": responses },
    });
    let release = ["signalbox", CHART, "--namespace", NAMESPACE];
    helm.run(&[&["install"], &release[..]].concat(), &values).await?;
    eventually("all pods are admitted", async || admitted(kubectl).await).await?;
    for component in ["aggregator", "collector", "epp", "proxy"] {
        let label = format!("app.kubernetes.io/component={component}");
        cluster.wait_for_ready(NAMESPACE, &label, 2).await?;
    }
    check_routed(&cluster).await?;
    let certificates = secrets(kubectl).await?;
    ensure!(certificates.len() == 4, "not four Secrets");

    values["watchAllNamespaces"] = json!(false);
    values["epp"] = json!({ "flags": { "retry-after": 2 } });
    helm.run(&[&["upgrade"], &release[..]].concat(), &values).await?;
    ensure!(secrets(kubectl).await? == certificates, "the upgrade changed the certificates");
    // One that is lost is made again by the same authority.
    kubectl.run(&["--namespace", NAMESPACE, "delete", "secret", "signalbox-epp-tls"]).await?;
    helm.run(&[&["upgrade"], &release[..]].concat(), &values).await?;
    let renewed = secrets(kubectl).await?;
    let data = |secrets: &[Value], name: &str, key: &str| {
        let secret = secrets.iter().find(|secret| secret["metadata"]["name"] == name);
        secret.map(|secret| secret["data"][key].clone()).with_context(|| format!("there is no Secret {name}"))
    };
    ensure!(
        data(&renewed, "signalbox-epp-tls", "tls.crt")?
            != data(&certificates, "signalbox-epp-tls", "tls.crt")?
    );
    ensure!(
        data(&renewed, "signalbox-epp-tls", "ca.crt")? == data(&certificates, "signalbox-ca", "tls.crt")?
    );

    helm.run(&["uninstall", "signalbox", "--namespace", NAMESPACE], &Value::Null).await?;
    eventually("nothing is left", async || {
        let left = names(kubectl).await?;
        ensure!(left == empty, "{left:?}");
        Ok(())
    })
    .await?;
    let roles = kubectl
        .get(&["clusterroles,clusterrolebindings", "-l", "app.kubernetes.io/part-of=signalbox"])
        .await?;
    ensure!(items(&roles["items"]).is_empty(), "{roles}");
    Ok(())
}

/// Starts a model server and checks that the proxy sends requests to it.
async fn check_routed(cluster: &Cluster) -> anyhow::Result<()> {
    let kubectl = cluster.kubectl();
    kubectl.apply(MODEL_SERVER).await?;
    let service = kubectl.get(&["--namespace", NAMESPACE, "service", "signalbox-proxy"]).await?;
    let address = service["spec"]["clusterIP"].as_str().context("the proxy has no address")?;
    let url = format!("http://{address}:8081/v1/completions");
    let client = Client::new();
    eventually("a request reaches the model server", async || {
        let body = json!({ "model": "m", "prompt": "hello", "max_tokens": 1 }).to_string();
        client.post(&url, body).await?.ok()
    })
    .await?;
    kubectl.run(&["--namespace", NAMESPACE, "delete", "pod", "server"]).await?;
    // Where a ServiceMonitor without a path looks.
    let page = client.get(&format!("http://{address}:19002/metrics")).await?.ok()?;
    let text = String::from_utf8_lossy(&page.body);
    ensure!(text.contains("envoy_http_downstream_rq"), "not the proxy's metrics: {text}");
    let admin = client.get(&format!("http://{address}:19002/config_dump")).await?;
    ensure!(admin.status == 404, "the proxy exposes its admin port");
    Ok(())
}

/// Checks that every Deployment has the pods that it wants.
async fn admitted(kubectl: &Kubectl) -> anyhow::Result<()> {
    let deployments = kubectl.get(&["--namespace", NAMESPACE, "deployments"]).await?;
    let pods = items(&deployments["items"]).iter().map(|deployment| &deployment["status"]["replicas"]);
    ensure!(pods.collect::<Vec<_>>() == [2, 2, 2, 2], "{deployments}");
    Ok(())
}

/// Returns the Secrets of the chart, by name, without what the cluster says about them.
async fn secrets(kubectl: &Kubectl) -> anyhow::Result<Vec<Value>> {
    let list = kubectl
        .get(&["--namespace", NAMESPACE, "secrets", "-l", "app.kubernetes.io/part-of=signalbox"])
        .await?;
    let secrets = items(&list["items"]).iter();
    Ok(secrets
        .map(|secret| json!({ "metadata": { "name": secret["metadata"]["name"] }, "data": secret["data"] }))
        .collect())
}

/// Returns the kinds and names of what is in the namespace.
async fn names(kubectl: &Kubectl) -> anyhow::Result<Vec<String>> {
    let list = kubectl.get(&["--namespace", NAMESPACE, KINDS]).await?;
    Ok(items(&list["items"])
        .iter()
        .map(|object| format!("{} {}", object["kind"], object["metadata"]["name"]))
        .collect())
}
