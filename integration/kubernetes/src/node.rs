//! Nodes for tests: they run the pods that are bound to them, as processes of this machine.
//!
//! What is real: the containers' commands, arguments and environment, the downward API, ConfigMaps, Secrets and tokens as
//! files, an address per pod, names and cluster IPs of Services, probes, restarts, the status, and the end by hook,
//! SIGTERM, grace and SIGKILL. [`launcher`] says what stands in for a container's file system, and what is not enforced.
//!
//! One task looks at all pods and Services ten times a second: the result depends only on what it sees, so it needs no
//! history and survives any failure of the API server.

mod container;
mod dns;
mod environment;
mod images;
mod launcher;
mod network;
mod pod_spec;
mod pod_status;
mod pod_worker;
mod probes;
mod running_pods;
mod scheduler;
mod services;
mod sources;
mod volumes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use signalbox_integration::{Signal, TestDir};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::Api;

use dns::DnsServer;
pub use images::{Image, signalbox_images};
pub use network::Network;
use pod_spec::PodSpec;
use pod_worker::{PodWorker, Surroundings};
use running_pods::{RunningPod, RunningPods};
use scheduler::schedule;
use services::Services;

/// The time between two looks at the pods.
const INTERVAL: Duration = Duration::from_millis(100);

/// Nodes that run pods. All pods are killed when it is dropped.
#[derive(Debug)]
pub struct Nodes {
    network: Arc<Network>,
    pods: RunningPods,
    connections: Vec<(String, watch::Sender<bool>)>,
    tasks: [JoinHandle<()>; 2],
}

impl Nodes {
    /// Starts nodes with these names. They run the programs of `images`.
    ///
    /// # Errors
    /// Fails when the API server does not respond.
    pub async fn start(
        dir: &TestDir,
        (api, network): (&Api, Arc<Network>),
        images: Vec<Image>,
        names: &[&str],
    ) -> anyhow::Result<Self> {
        for name in names {
            api.create("/api/v1/nodes", &node_object(name, &network)).await?;
        }
        let connections: Vec<(String, watch::Sender<bool>)> =
            names.iter().map(|name| ((*name).to_owned(), watch::Sender::new(true))).collect();
        let services = watch::Sender::new(Services::default());
        let dns = DnsServer::listen(network.host(), services.subscribe()).await?;
        let surroundings = Surroundings {
            api: api.clone(),
            network: Arc::clone(&network),
            images,
            logs: dir.path().to_owned(),
            services: services.subscribe(),
        };
        let pods = RunningPods::default();
        let looks = Looks {
            surroundings: Arc::new(surroundings),
            pods: pods.clone(),
            connections: connections
                .iter()
                .map(|(name, connection)| (name.clone(), connection.subscribe()))
                .collect(),
            services,
            rules: None,
            log: dir.path().join("nodes.log"),
            last_error: String::new(),
        };
        Ok(Self { network, pods, connections, tasks: [tokio::spawn(looks.run()), tokio::spawn(dns.run())] })
    }

    /// Cuts a node off: all packets of its pods are dropped, also of open connections, and it reports nothing. Its
    /// processes keep running.
    ///
    /// # Errors
    /// Fails when there is no such node.
    pub async fn disconnect(&self, node: &str) -> anyhow::Result<()> {
        self.connection(node)?.send_replace(false);
        for address in self.pods.addresses(node) {
            self.network.cut(address).await?;
        }
        Ok(())
    }

    /// Connects a node again.
    ///
    /// # Errors
    /// Fails when there is no such node.
    pub async fn reconnect(&self, node: &str) -> anyhow::Result<()> {
        for address in self.pods.addresses(node) {
            self.network.mend(address).await?;
        }
        self.connection(node)?.send_replace(true);
        Ok(())
    }

    /// Sends a signal to all containers of a pod. A container that ends starts again.
    ///
    /// # Errors
    /// Fails when the pod does not run.
    pub fn signal(&self, namespace: &str, pod: &str, signal: Signal) -> anyhow::Result<()> {
        self.pods.kill(namespace, pod, signal.flag())
    }

    /// Sends SIGKILL to all containers of a pod. They start again.
    ///
    /// # Errors
    /// Fails when the pod does not run.
    pub fn kill(&self, namespace: &str, pod: &str) -> anyhow::Result<()> {
        self.pods.kill(namespace, pod, "-KILL")
    }

    /// Returns how many pods have processes, also those that are ending.
    pub fn running(&self) -> usize {
        self.pods.count()
    }

    fn connection(&self, node: &str) -> anyhow::Result<&watch::Sender<bool>> {
        let found = self.connections.iter().find(|(name, _)| name == node);
        found.map(|(_, connection)| connection).with_context(|| format!("there is no node {node}"))
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The task that compares what runs with what shall run.
#[derive(Debug)]
struct Looks {
    surroundings: Arc<Surroundings>,
    pods: RunningPods,
    connections: Vec<(String, watch::Receiver<bool>)>,
    services: watch::Sender<Services>,
    /// The rules for Services that are in effect.
    rules: Option<String>,
    log: PathBuf,
    last_error: String,
}

impl Looks {
    async fn run(mut self) {
        loop {
            if let Err(error) = self.look().await {
                self.note(&format!("{error:#}"));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Writes an error into the log, once.
    fn note(&mut self, error: &str) {
        if self.last_error != error {
            append(&self.log, error);
            self.last_error = error.to_owned();
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let (ended, api) = (self.pods.ended(), &self.surroundings.api);
        let (pods, services, slices) = tokio::try_join!(
            api.list("/api/v1/pods"),
            api.list("/api/v1/services"),
            api.list("/apis/discovery.k8s.io/v1/endpointslices"),
        )?;
        self.set_services(Services::read(&services, &slices)).await?;
        if self.pods.ended() != ended {
            // The list may contain a pod that has ended since.
            return Ok(());
        }
        self.pods.end_all_except(&pods);
        let mut result = Ok(());
        for pod in &pods {
            // One pod that cannot run must not keep the others from running.
            if let Err(error) = self.see(pod).await {
                result = Err(error);
            }
        }
        self.bind(&pods).await?;
        result
    }

    async fn set_services(&mut self, services: Services) -> anyhow::Result<()> {
        let rules = services.rules();
        if self.rules.as_ref() != Some(&rules) {
            self.surroundings.network.set_rules(&rules).await?;
            self.rules = Some(rules);
        }
        self.services.send_if_modified(|present| {
            let is_new = *present != services;
            *present = services;
            is_new
        });
        Ok(())
    }

    /// Starts a pod that does not run yet, and ends one that is being deleted.
    async fn see(&self, pod: &Value) -> anyhow::Result<()> {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        let Some((_, connection)) = self.connections.iter().find(|(name, _)| name == node) else {
            return Ok(());
        };
        if !*connection.borrow() {
            return Ok(());
        }
        let uid = pod["metadata"]["uid"].as_str().context("a pod has no UID")?;
        if !self.pods.contains(uid) && !is_over(pod) {
            self.start(pod, connection.clone()).await?;
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            let grace_s = pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or_default();
            self.pods.end(uid, Duration::from_secs(grace_s));
        }
        Ok(())
    }

    async fn start(&self, pod: &Value, is_connected: watch::Receiver<bool>) -> anyhow::Result<()> {
        let name = &pod["metadata"]["name"];
        let pod = PodSpec::read(pod).with_context(|| format!("cannot run pod {name}"))?;
        let attachment = self.surroundings.network.attach().await?;
        let (states, deadline) =
            (watch::Sender::new(vec![Default::default(); pod.containers.len()]), watch::Sender::new(None));
        let running = RunningPod {
            namespace: pod.namespace.clone(),
            name: pod.name.clone(),
            node: pod.node.clone(),
            address: attachment.address,
            states: states.subscribe(),
            deadline: deadline.clone(),
        };
        let uid = pod.uid.clone();
        let surroundings = Arc::clone(&self.surroundings);
        let worker =
            PodWorker { pod, attachment, surroundings, states, deadline: deadline.subscribe(), is_connected };
        self.pods.start(uid, running, worker.run());
        Ok(())
    }

    async fn bind(&self, pods: &[Value]) -> anyhow::Result<()> {
        let connected = self.connections.iter().filter(|(_, connection)| *connection.borrow());
        let connected: Vec<&str> = connected.map(|(name, _)| name.as_str()).collect();
        for binding in schedule(pods, &connected) {
            let path = format!("/api/v1/namespaces/{}/pods/{}/binding", binding.namespace, binding.pod);
            let target = json!({ "apiVersion": "v1", "kind": "Node", "name": binding.node });
            let object = json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": binding.pod }, "target": target });
            self.surroundings.api.create(&path, &object).await?;
        }
        Ok(())
    }
}

/// Whether all containers of a pod have ended for good, in an earlier run.
fn is_over(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

fn node_object(name: &str, network: &Network) -> Value {
    let resources = json!({ "cpu": "64", "memory": "256Gi", "pods": "500" });
    let labels = json!({ "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": name });
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name, "labels": labels },
        "status": {
            "capacity": resources,
            "allocatable": resources,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Test", "message": "runs processes" }],
            "addresses": [{ "type": "InternalIP", "address": network.host() }],
        },
    })
}

fn append(log: &Path, line: &str) {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    // A log that cannot be written must not stop the nodes.
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
