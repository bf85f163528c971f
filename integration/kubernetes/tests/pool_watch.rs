//! Pools from the objects of a real API server.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use serde_json::json;
use signalbox_integration::{TestDir, eventually};
use signalbox_kube::{
    Cluster, ClusterSettings, DiscoveredPools, PoolSelection, PoolWatchObserver, PoolWatchSettings,
    watch_pools,
};
use signalbox_kubernetes_tests::{ControlPlane, Kubectl, sandboxed};
use signalbox_types::PageSettings;
use tokio::sync::watch;

const CRDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
const LOOPBACK: [u8; 4] = [127, 0, 0, 1];

/// All rights that a watch of pools needs.
const ROLE: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: signalbox }
rules:
- { apiGroups: [""], resources: [pods], verbs: [list, watch] }
- { apiGroups: [events.k8s.io], resources: [events], verbs: [create, patch] }
- apiGroups: [inference.networking.k8s.io, inference.networking.x-k8s.io, llm-d.ai]
  resources: [inferencepools, inferenceobjectives, inferencemodelrewrites, inferencemodels]
  verbs: [list, watch]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: signalbox }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: signalbox }
subjects: [{ kind: ServiceAccount, name: signalbox }]
---
apiVersion: v1
kind: ServiceAccount
metadata: { name: signalbox }
"#;

const POOL: &str = "
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: { name: llama }
spec:
  selector: { matchLabels: { app: vllm } }
  targetPorts: [{ number: 8000 }]
  endpointPickerRef: { name: epp, port: { number: 9002 } }
";

const OBJECTIVE: &str = "
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: high }
spec: { priority: 5, poolRef: { name: llama } }
";

/// Early manifests, as many guides show them.
const EARLY_POOL: &str = "
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferencePool
metadata: { name: llama }
spec: { selector: { matchLabels: { app: vllm } }, targetPortNumber: 8000, extensionRef: { name: epp } }
";
const EARLY_OBJECTIVE: &str = "
apiVersion: inference.networking.k8s.io/v1alpha2
kind: InferenceObjective
metadata: { name: high }
spec: { modelName: llama3, criticality: Critical, poolRef: { name: llama } }
";

struct Ignore;

impl PoolWatchObserver for Ignore {
    fn object_rejected(&self, _: &'static str, _: &'static str) {}
    fn watch_failed(&self, _: &'static str) {}
    fn contacted(&self) {}
}

async fn install_crds(kubectl: &Kubectl, folder: &str) -> anyhow::Result<()> {
    let folder = Path::new(CRDS).join(folder).display().to_string();
    let names = kubectl.run(&["apply", "--server-side", "--output", "name", "--filename", &folder]).await?;
    for name in names.lines() {
        let served =
            async || kubectl.run(&["wait", "--for", "condition=Established", "--timeout=10s", name]).await;
        eventually("the API server serves the CRD", served).await?;
    }
    Ok(())
}

/// Watches the pools of the Service `default/epp` with the rights of `role`.
async fn watch(
    control_plane: &ControlPlane,
    role: &str,
) -> anyhow::Result<watch::Receiver<Arc<DiscoveredPools>>> {
    control_plane.kubectl().apply(role).await?;
    let kubeconfig = Some(control_plane.kubeconfig_of("default", "signalbox").await?);
    let cluster = Cluster::connect(&ClusterSettings { kubeconfig }).await?;
    let settings = PoolWatchSettings {
        namespaces: vec!["default".to_owned()],
        selection: PoolSelection::ServedBy { namespace: "default".to_owned(), name: "epp".to_owned() },
        service_ports: Some(9002..=9010),
        pages: PageSettings::default(),
    };
    Ok(watch_pools(&cluster, settings, Ignore))
}

/// Makes a pod that is running and ready at this address, as far as the API server knows.
async fn start_pod(kubectl: &Kubectl, name: &str, ip: &str) -> anyhow::Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": "vllm" } },
        "spec": { "nodeName": "nowhere", "containers": [{ "name": "server", "image": "none" }] },
    });
    kubectl.apply(&pod.to_string()).await?;
    let status = json!({ "status": {
        "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    kubectl.run(&["patch", "pod", name, "--subresource", "status", "--patch", &status.to_string()]).await?;
    Ok(())
}

/// Waits until the pools have these endpoints, a draining one with a star, and the objective `high` this priority.
async fn expect(
    pools: &watch::Receiver<Arc<DiscoveredPools>>,
    endpoints: &[&str],
    priority: i32,
) -> anyhow::Result<()> {
    let check = async || {
        let pools = pools.borrow().clone();
        let specs = pools.pools.values().map(|pool| &pool.spec);
        let found: Vec<String> = specs
            .clone()
            .flat_map(|spec| &spec.endpoints)
            .map(|endpoint| format!("{}{}", endpoint.name, if endpoint.is_draining { "*" } else { "" }))
            .collect();
        let priorities: Vec<_> = specs.map(|spec| spec.models.priority(Some("high"))).collect();
        ensure!(
            found == endpoints && priorities == [priority],
            "endpoints {found:?}, priorities {priorities:?}"
        );
        Ok(())
    };
    eventually("the pools follow the objects", check).await
}

/// Shows a pool with its pods and an objective, whatever the API version.
async fn follow(
    control_plane: &ControlPlane,
    pools: &watch::Receiver<Arc<DiscoveredPools>>,
    priority: i32,
) -> anyhow::Result<()> {
    let kubectl = control_plane.kubectl();
    start_pod(kubectl, "a", "10.0.0.1").await?;
    start_pod(kubectl, "b", "10.0.0.2").await?;
    expect(pools, &["a-rank-0", "b-rank-0"], priority).await?;
    kubectl.run(&["delete", "pod", "a", "--wait=false"]).await?;
    expect(pools, &["a-rank-0*", "b-rank-0"], priority).await?;
    kubectl.run(&["delete", "pod", "a", "--force", "--grace-period=0"]).await?;
    expect(pools, &["b-rank-0"], priority).await
}

#[test]
fn pools_survive_outages_and_older_histories() -> anyhow::Result<()> {
    sandboxed("pools_survive_outages_and_older_histories", async |dir: &TestDir| {
        let mut control_plane = ControlPlane::start(dir, LOOPBACK.into()).await?;
        let pools = watch(&control_plane, ROLE).await?;
        let empty = async || {
            ensure!(pools.borrow().is_synced && pools.borrow().pools.is_empty());
            Ok(())
        };
        eventually("without CRDs there are no pools", empty).await?;
        let kubectl = control_plane.kubectl().clone();
        install_crds(&kubectl, "llm-d").await?;
        install_crds(&kubectl, "x-k8s").await?;
        let legacy_pool = POOL
            .replace("inference.networking.k8s.io/v1", "inference.networking.x-k8s.io/v1alpha2")
            .replace("{ matchLabels: { app: vllm } }", "{ app: vllm }")
            .replace("targetPorts: [{ number: 8000 }]", "targetPortNumber: 8000")
            .replace(
                "endpointPickerRef: { name: epp, port: { number: 9002 } }",
                "extensionRef: { name: epp }",
            );
        kubectl.apply(&legacy_pool).await?;
        kubectl.apply(OBJECTIVE).await?;
        follow(&control_plane, &pools, 5).await?;
        let checkpoint = control_plane.checkpoint()?;
        start_pod(&kubectl, "c", "10.0.0.3").await?;
        expect(&pools, &["b-rank-0", "c-rank-0"], 5).await?;
        control_plane.stop_api_server()?;
        expect(&pools, &["b-rank-0", "c-rank-0"], 5).await?;
        control_plane.start_api_server(dir).await?;
        start_pod(&kubectl, "d", "10.0.0.4").await?;
        expect(&pools, &["b-rank-0", "c-rank-0", "d-rank-0"], 5).await?;
        // The restored history knows nothing of c and d.
        control_plane.rewind(dir, &checkpoint).await?;
        expect(&pools, &["b-rank-0"], 5).await?;
        start_pod(&kubectl, "e", "10.0.0.5").await?;
        expect(&pools, &["b-rank-0", "e-rank-0"], 5).await
    })
}

#[test]
fn early_manifests_work_and_missing_rights_hold_up_only_their_part() -> anyhow::Result<()> {
    let name = "early_manifests_work_and_missing_rights_hold_up_only_their_part";
    sandboxed(name, async |dir: &TestDir| {
        let control_plane = ControlPlane::start(dir, LOOPBACK.into()).await?;
        let kubectl = control_plane.kubectl();
        install_crds(kubectl, "v1alpha2").await?;
        kubectl.apply(EARLY_POOL).await?;
        kubectl.apply(EARLY_OBJECTIVE).await?;
        kubectl
            .apply(&EARLY_POOL.replace("llama }", "wrong-port }").replace("epp }", "epp, portNumber: 80 }"))
            .await?;
        let pools = watch(&control_plane, ROLE).await?;
        follow(&control_plane, &pools, 10).await?;
        let event = async || {
            let events = kubectl.run(&["get", "events.v1.events.k8s.io", "--output", "name"]).await?;
            let described = kubectl.run(&["describe", "inferencepool", "wrong-port"]).await?;
            ensure!(described.contains("PortNotOpen"), "no event: {events}\n{described}");
            Ok(())
        };
        eventually("an event says what is wrong", event).await?;
        drop(pools);
        let without_objectives = ROLE.replace("inferenceobjectives, ", "");
        let pools = watch(&control_plane, &without_objectives).await?;
        expect(&pools, &["b-rank-0"], 0).await?;
        kubectl.apply(ROLE).await?;
        expect(&pools, &["b-rank-0"], 10).await?;
        // The second watch told the same once more.
        let repeated = async || {
            let events = kubectl.run(&["get", "events.v1.events.k8s.io", "--output", "yaml"]).await?;
            ensure!(
                events.contains("count: 2") && events.matches("reason: PortNotOpen").count() == 1,
                "{events}"
            );
            Ok(())
        };
        eventually("the event shows that it was told again", repeated).await
    })
}
