//! Watches against an API server that keeps objects in memory.

mod fake_api;
mod faults;
mod objects;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use signalbox_actors::BackoffPolicy;
use signalbox_types::PageSettings;
use tokio::sync::watch;
use tokio::time::timeout;

use self::fake_api::FakeApi;
use super::settings::Pace;
use super::{PoolWatchObserver, PoolWatchSettings, start};
use crate::catalog::PoolSelection;
use crate::discovered::DiscoveredPools;

const PODS: &str = "api/v1/pods";
const POOLS: &str = "apis/inference.networking.k8s.io/v1/inferencepools";
const OBJECTIVES: &str = "apis/llm-d.ai/v1alpha2/inferenceobjectives";

/// How long a test waits for something that must happen.
const DEADLINE: Duration = Duration::from_secs(30);

/// Short delays, so that tests are quick.
const PACE: Pace = Pace {
    ask: Duration::from_millis(100),
    ask_after_failure: Duration::from_millis(20),
    ask_while_away: BackoffPolicy { base: Duration::from_millis(5), cap: Duration::from_millis(50) },
    gone_after: Duration::from_millis(300),
    retry: BackoffPolicy { base: Duration::from_millis(5), cap: Duration::from_millis(50) },
    retry_after_outage: Duration::from_millis(20),
    refusal_grace: Duration::ZERO,
    retry_refused: Duration::from_millis(50),
};

/// What an observer was told.
#[derive(Default)]
struct Told {
    rejected: Mutex<Vec<String>>,
    failed: Mutex<BTreeSet<String>>,
}

impl PoolWatchObserver for Told {
    fn object_rejected(&self, kind: &'static str, reason: &'static str) {
        self.rejected.lock().unwrap().push(format!("{kind} {reason}"));
    }

    fn watch_failed(&self, resource: &'static str) {
        self.failed.lock().unwrap().insert(resource.to_owned());
    }

    fn contacted(&self) {}
}

/// A watch of the pools of the Service `prod/epp` in the namespace `prod`.
struct Watched {
    pools: watch::Receiver<Arc<DiscoveredPools>>,
    told: Arc<Told>,
}

impl Watched {
    async fn start(api: &FakeApi) -> Self {
        Self::start_at(api, PACE).await
    }

    async fn start_at(api: &FakeApi, pace: Pace) -> Self {
        let selection = PoolSelection::ServedBy { namespace: "prod".to_owned(), name: "epp".to_owned() };
        let settings = PoolWatchSettings {
            namespaces: vec!["prod".to_owned()],
            selection,
            service_ports: Some(9002..=9004),
            pages: PageSettings::default(),
        };
        let told = Arc::new(Told::default());
        let observer: Arc<dyn PoolWatchObserver> = told.clone();
        Self { pools: start(&api.cluster().await, settings, observer, pace), told }
    }

    /// Waits until the pools fulfil `condition`.
    async fn until(&mut self, condition: impl Fn(&DiscoveredPools) -> bool) -> Arc<DiscoveredPools> {
        let waited = timeout(DEADLINE, self.pools.wait_for(|pools| condition(pools))).await;
        let pools = waited.map(|pools| pools.expect("the watch runs").clone());
        pools.unwrap_or_else(|_| panic!("not fulfilled by {:?}", self.pools.borrow()))
    }

    /// Waits until the endpoints are these, as `POOL NAME`, a draining one with a star.
    async fn until_endpoints(&mut self, expected: &[&str]) {
        self.until(|pools| pools.is_synced && endpoints(pools) == expected).await;
    }
}

fn endpoints(pools: &DiscoveredPools) -> Vec<String> {
    let of_pools = pools.pools.values().map(|pool| &pool.spec);
    let all = of_pools.flat_map(|spec| spec.endpoints.iter().map(|endpoint| (&spec.id.name, endpoint)));
    all.map(|(pool, endpoint)| {
        format!("{pool} {}{}", endpoint.name, if endpoint.is_draining { "*" } else { "" })
    })
    .collect()
}

/// Waits until `condition` holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("{what}"));
}

/// A server with the current resources and a pool `prod/llama`.
async fn api_with_pool() -> FakeApi {
    let api = FakeApi::start().await;
    api.serve("inference.networking.k8s.io/v1", &["inferencepools"]);
    api.serve("llm-d.ai/v1alpha2", &["inferenceobjectives"]);
    api.apply(POOLS, pool("llama", 9002));
    api
}

fn pod(name: &str, last_byte: usize) -> Value {
    json!({
        "metadata": {
            "namespace": "prod", "name": name, "uid": name, "labels": { "app": "vllm" },
            "creationTimestamp": "2026-01-31T12:00:00Z",
        },
        "status": {
            "phase": "Running", "podIP": format!("10.0.{}.{}", last_byte / 256, last_byte % 256),
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

fn pool(name: &str, port: u16) -> Value {
    json!({
        "apiVersion": "inference.networking.k8s.io/v1", "kind": "InferencePool",
        "metadata": {
            "namespace": "prod", "name": name, "uid": name, "creationTimestamp": "2026-01-31T12:00:00Z",
        },
        "spec": {
            "selector": { "matchLabels": { "app": "vllm" } },
            "targetPorts": [{ "number": 8000 }],
            "endpointPickerRef": { "name": "epp", "port": { "number": port } },
        },
    })
}

fn objective(name: &str, priority: &Value) -> Value {
    json!({
        "apiVersion": "llm-d.ai/v1alpha2", "kind": "InferenceObjective",
        "metadata": { "namespace": "prod", "name": name, "creationTimestamp": "2026-01-31T12:00:00Z" },
        "spec": { "poolRef": { "name": "llama" }, "priority": priority },
    })
}

fn priority(pools: &DiscoveredPools, objective: &str) -> Option<i32> {
    pools.pools.values().next().map(|pool| pool.spec.models.priority(Some(objective)))
}
