//! The tools of these tests: a control plane, and nodes that run pods as processes.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::{Client, Signal, TestDir, eventually};
use signalbox_kubernetes_tests::{Cluster, ControlPlane, NODES, sandboxed};

/// A Deployment of simulated model servers, with a Service in front and a headless one.
const MODELS: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: models}
spec:
  replicas: 2
  selector: {matchLabels: {app: models}}
  template:
    metadata: {labels: {app: models}}
    spec:
      containers:
        - name: server
          image: registry.example/modelsim:1.0
          args: [--listen, '$(POD_IP):8000', --name, $(POD_NAME), --model, m]
          env:
            - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
            - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
          ports: [{name: http, containerPort: 8000}]
          readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
          securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true}
---
apiVersion: v1
kind: Service
metadata: {name: models}
spec: {selector: {app: models}, ports: [{name: http, port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: models-headless}
spec: {clusterIP: None, selector: {app: models}, ports: [{name: http, port: 8000}]}
";

/// Returns a pod that runs a shell script, with more fields of its spec and its container.
fn shell(name: &str, script: &str, spec: &Value, container: &Value) -> String {
    let mut container = container.clone();
    container["name"] = json!("shell");
    container["image"] = json!("shell");
    container["args"] = json!(["-c", script]);
    let mut spec = spec.clone();
    spec["containers"] = json!([container]);
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec }).to_string()
}

fn address(pod: &Value) -> anyhow::Result<&str> {
    pod["status"]["podIP"].as_str().context("the pod has no address")
}

fn name(pod: &Value) -> anyhow::Result<&str> {
    pod["metadata"]["name"].as_str().context("the pod has no name")
}

/// Returns which pod serves a request at this address.
async fn serving_pod(client: &Client, authority: &str) -> anyhow::Result<String> {
    let body = json!({ "model": "m", "prompt": "hello", "max_tokens": 1 }).to_string();
    let response = client.post(&format!("http://{authority}/v1/completions"), body).await?.ok()?;
    Ok(response.pod()?.to_owned())
}

async fn deployed(dir: &TestDir) -> anyhow::Result<(Cluster, Vec<Value>)> {
    let cluster = Cluster::start(dir).await?;
    cluster.kubectl().apply(MODELS).await?;
    let pods = cluster.wait_for_ready("default", "app=models", 2).await?;
    Ok((cluster, pods))
}

#[test]
fn deployment_runs_as_processes_and_is_scaled_and_deleted() -> anyhow::Result<()> {
    sandboxed("deployment_runs_as_processes_and_is_scaled_and_deleted", async |dir| {
        let (cluster, pods) = deployed(dir).await?;
        let (client, kubectl) = (Client::new(), cluster.kubectl());
        ensure!(address(&pods[0])? != address(&pods[1])?);
        ensure!(pods[0]["spec"]["nodeName"] != pods[1]["spec"]["nodeName"], "the pods share a node");
        for pod in &pods {
            let served = serving_pod(&client, &format!("{}:8000", address(pod)?)).await?;
            ensure!(served == format!("{}-0", name(pod)?) || served.starts_with(name(pod)?), "{served}");
        }
        let service = kubectl.get(&["service", "models"]).await?;
        let cluster_ip = service["spec"]["clusterIP"].as_str().context("no cluster IP")?;
        eventually("the Service answers", async || {
            serving_pod(&Client::new(), &format!("{cluster_ip}:80")).await
        })
        .await?;

        kubectl.run(&["scale", "deployment", "models", "--replicas=4"]).await?;
        cluster.wait_for_ready("default", "app=models", 4).await?;
        kubectl.run(&["scale", "deployment", "models", "--replicas=1"]).await?;
        cluster.wait_for_ready("default", "app=models", 1).await?;
        kubectl.run(&["delete", "deployment", "models"]).await?;
        let gone = async || {
            let left = (cluster.pods("default", "app=models").await?.len(), cluster.nodes.running());
            ensure!(left == (0, 0), "objects and processes: {left:?}");
            Ok(())
        };
        eventually("all pods are gone", gone).await
    })
}

#[test]
fn names_of_services_resolve_in_pods() -> anyhow::Result<()> {
    sandboxed("names_of_services_resolve_in_pods", async |dir| {
        let (cluster, pods) = deployed(dir).await?;
        let script = "while sleep 0.1; do echo $(getent ahostsv4 models-headless.default.svc | grep STREAM); \
                      echo short $(getent hosts models); done";
        cluster.kubectl().apply(&shell("names", script, &json!({}), &json!({}))).await?;
        dir.wait_for_log("names.shell", &[address(&pods[0])?, address(&pods[1])?]).await?;
        dir.wait_for_log("names.shell", &["short 10.96."]).await?;
        cluster.kubectl().run(&["scale", "deployment", "models", "--replicas=3"]).await?;
        let pods = cluster.wait_for_ready("default", "app=models", 3).await?;
        let all = pods.iter().map(address).collect::<anyhow::Result<Vec<_>>>()?;
        dir.wait_for_log("names.shell", &all).await
    })
}

#[test]
fn pods_get_variables_files_and_a_token() -> anyhow::Result<()> {
    sandboxed("pods_get_variables_files_and_a_token", async |dir| {
        let cluster = Cluster::start(dir).await?;
        let kubectl = cluster.kubectl();
        kubectl.run(&["create", "configmap", "settings", "--from-literal=color=red"]).await?;
        kubectl.run(&["create", "secret", "generic", "password", "--from-literal=word=open"]).await?;
        let script = "echo $WORD $(WHO) as $(id -u); kubectl get --raw /version && echo asked; touch /new || echo refused; \
                      touch /scratch/new && echo written; while sleep 0.1; do echo color $(cat /etc/settings/color); done";
        let spec = json!({ "volumes": [
            { "name": "settings", "configMap": { "name": "settings" } },
            { "name": "scratch", "emptyDir": {} },
        ] });
        let container = json!({
            "env": [
                { "name": "WORD", "valueFrom": { "secretKeyRef": { "name": "password", "key": "word" } } },
                { "name": "WHO", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            ],
            "volumeMounts": [
                { "name": "settings", "mountPath": "/etc/settings", "readOnly": true },
                { "name": "scratch", "mountPath": "/scratch" },
            ],
            "securityContext": { "readOnlyRootFilesystem": true },
        });
        kubectl.apply(&shell("reader", script, &spec, &container)).await?;
        dir.wait_for_log("reader.shell", &["open reader as "]).await?;
        for line in ["asked", "refused", "written", "color red"] {
            dir.wait_for_log("reader.shell", &[line]).await?;
        }
        cluster
            .api
            .patch("/api/v1/namespaces/default/configmaps/settings", &json!({ "data": { "color": "blue" } }))
            .await?;
        dir.wait_for_log("reader.shell", &["color blue"]).await?;

        let missing = json!({ "envFrom": [{ "configMapRef": { "name": "late" } }] });
        kubectl.apply(&shell("waiter", "echo $late; sleep 1000", &json!({}), &missing)).await?;
        let waits = async || {
            let pod = kubectl.get(&["pod", "waiter"]).await?;
            let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"];
            ensure!(waiting == "ConfigMap late does not exist", "{pod}");
            Ok(())
        };
        eventually("the status names what is missing", waits).await?;
        kubectl.run(&["create", "configmap", "late", "--from-literal=late=there"]).await?;
        dir.wait_for_log("waiter.shell", &["there"]).await
    })
}

#[test]
fn containers_restart_and_end_in_order() -> anyhow::Result<()> {
    sandboxed("containers_restart_and_end_in_order", async |dir| {
        let (cluster, pods) = deployed(dir).await?;
        let (kubectl, name) = (cluster.kubectl(), name(&pods[0])?);
        cluster.nodes.kill("default", name)?;
        let restarted = async || {
            let pod = kubectl.get(&["pod", name]).await?;
            let status = &pod["status"]["containerStatuses"][0];
            ensure!(status["restartCount"] == 1 && status["ready"] == true, "{status}");
            ensure!(status["lastState"]["terminated"]["exitCode"] == 137, "{status}");
            Ok(())
        };
        eventually("the container runs again", restarted).await?;

        let hook =
            json!({ "lifecycle": { "preStop": { "exec": { "command": ["sh", "-c", "echo before"] } } } });
        let script = "trap 'echo asked to end; exit 0' TERM; echo runs; while sleep 0.1; do :; done";
        kubectl.apply(&shell("polite", script, &json!({}), &hook)).await?;
        let script = "trap '' TERM; echo runs; while sleep 0.1; do :; done";
        kubectl
            .apply(&shell("stubborn", script, &json!({ "terminationGracePeriodSeconds": 1 }), &json!({})))
            .await?;
        for pod in ["polite", "stubborn"] {
            dir.wait_for_log(&format!("{pod}.shell"), &["runs"]).await?;
        }
        kubectl.run(&["delete", "pod", "polite", "stubborn"]).await?;
        let log = std::fs::read_to_string(dir.path().join("polite.shell.log"))?;
        ensure!(log.ends_with("before\nasked to end\n"), "{log}");
        let ended = async || {
            ensure!(cluster.nodes.running() == 2, "{} pods run", cluster.nodes.running());
            Ok(())
        };
        eventually("only the model servers run", ended).await
    })
}

#[test]
fn liveness_probe_restarts_a_container_that_hangs() -> anyhow::Result<()> {
    sandboxed("liveness_probe_restarts_a_container_that_hangs", async |dir| {
        let cluster = Cluster::start(dir).await?;
        let mut probed = json!({ "exec": { "command": ["test", "-e", "/tmp/alive"] }, "periodSeconds": 1, "failureThreshold": 1 });
        let mut container = json!({ "livenessProbe": probed });
        probed["failureThreshold"] = json!(30);
        container["startupProbe"] = probed;
        container["volumeMounts"] = json!([{ "name": "shared", "mountPath": "/tmp" }]);
        let spec =
            json!({ "volumes": [{ "name": "shared", "emptyDir": {} }], "terminationGracePeriodSeconds": 1 });
        let script = "touch /tmp/alive; echo runs; sleep 2; rm /tmp/alive; sleep 1000";
        cluster.kubectl().apply(&shell("hanging", script, &spec, &container)).await?;
        let restarted = async || {
            let pod = cluster.kubectl().get(&["pod", "hanging"]).await?;
            let status = &pod["status"]["containerStatuses"][0];
            let why = status["lastState"]["terminated"]["message"].as_str().unwrap_or_default();
            ensure!(why.starts_with("liveness probe failed"), "{status}");
            Ok(())
        };
        eventually("the container was restarted", restarted).await
    })
}

#[test]
fn disruption_budget_holds_the_second_eviction() -> anyhow::Result<()> {
    sandboxed("disruption_budget_holds_the_second_eviction", async |dir| {
        let (cluster, pods) = deployed(dir).await?;
        let budget = json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": { "name": "models" },
            "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "models" } } },
        });
        cluster.kubectl().apply(&budget.to_string()).await?;
        let allowed = async || {
            let budget = cluster.kubectl().get(&["poddisruptionbudget", "models"]).await?;
            ensure!(budget["status"]["disruptionsAllowed"] == 1, "{budget}");
            Ok(())
        };
        eventually("the budget counts the pods", allowed).await?;
        cluster.evict("default", name(&pods[0])?).await?;
        let held = cluster.evict("default", name(&pods[1])?).await;
        let held = held.err().context("both pods were evicted")?.to_string();
        ensure!(held.contains("429") && held.contains("disruption budget"), "{held}");
        cluster.wait_for_ready("default", "app=models", 2).await?;
        eventually("a new pod allows the next eviction", async || {
            cluster.evict("default", name(&pods[1])?).await
        })
        .await
    })
}

#[test]
fn disconnected_node_is_silent() -> anyhow::Result<()> {
    sandboxed("disconnected_node_is_silent", async |dir| {
        let (cluster, pods) = deployed(dir).await?;
        let node = pods[0]["spec"]["nodeName"].as_str().context("the pod has no node")?;
        ensure!(NODES.contains(&node));
        let authority = format!("{}:8000", address(&pods[0])?);
        cluster.nodes.disconnect(node).await?;
        let client = Client::new();
        let asked = serving_pod(&client, &authority);
        // A packet that is dropped is not answered at all, so that there is no event to wait for.
        let answer = tokio::time::timeout(std::time::Duration::from_secs(1), asked).await;
        ensure!(answer.is_err(), "{answer:?}");
        cluster.nodes.signal("default", name(&pods[1])?, Signal::Terminate)?;
        cluster.nodes.reconnect(node).await?;
        eventually("the pod answers again", async || serving_pod(&Client::new(), &authority).await).await?;
        cluster.wait_for_ready("default", "app=models", 2).await?;
        Ok(())
    })
}

#[test]
fn control_plane_restarts_also_with_an_older_history() -> anyhow::Result<()> {
    sandboxed("control_plane_restarts_also_with_an_older_history", async |dir| {
        let mut control_plane = ControlPlane::start(dir, "127.0.0.1".parse()?).await?;
        let kubectl = control_plane.kubectl().clone();
        kubectl.run(&["create", "namespace", "old"]).await?;
        let checkpoint = control_plane.checkpoint()?;
        kubectl.run(&["create", "namespace", "new"]).await?;
        control_plane.stop_api_server()?;
        ensure!(kubectl.run(&["get", "namespace", "new"]).await.is_err());
        control_plane.start_api_server(dir).await?;
        kubectl.run(&["get", "namespace", "old", "new"]).await?;
        control_plane.rewind(dir, &checkpoint).await?;
        kubectl.run(&["get", "namespace", "old"]).await?;
        let gone = kubectl
            .run(&["get", "namespace", "new"])
            .await
            .err()
            .context("the new namespace is still there")?;
        ensure!(gone.to_string().contains("NotFound"), "{gone:#}");

        kubectl.run(&["create", "serviceaccount", "guest", "--namespace", "old"]).await?;
        let guest =
            signalbox_kubernetes_tests::Kubectl::new(&control_plane.kubeconfig_of("old", "guest").await?)?;
        let refused = guest.run(&["get", "pods"]).await.err().context("a guest may read pods")?.to_string();
        ensure!(refused.contains("Forbidden"), "{refused}");
        Ok(())
    })
}

#[test]
fn crds_are_installed() -> anyhow::Result<()> {
    sandboxed("crds_are_installed", async |dir| {
        let cluster = Cluster::start(dir).await?;
        cluster.install_released_crds().await?;
        for folder in ["llm-d", "x-k8s"] {
            cluster.install_own_crds(folder).await?;
        }
        let objective = r"
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: {name: urgent}
spec: {priority: 5, poolRef: {name: pool}}
";
        cluster.kubectl().apply(objective).await?;
        let pool = r"
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferencePool
metadata: {name: pool}
spec:
  selector: {matchLabels: {app: models}}
  targetPortNumber: 8000
  extensionRef: {name: picker}
";
        ensure!(cluster.kubectl().apply(pool).await.is_err(), "the released CRD has this version");
        cluster.kubectl().run(&["delete", "crd", "inferencepools.inference.networking.k8s.io"]).await?;
        cluster.install_own_crds("v1alpha2").await?;
        eventually("the pool can be created", async || cluster.kubectl().apply(pool).await).await?;
        Ok(())
    })
}
