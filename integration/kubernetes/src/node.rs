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
mod looks;
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

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Context;
use serde_json::{Value, json};
use signalbox_integration::{Signal, TestDir};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::Api;

use dns::DnsServer;
pub use images::{Image, signalbox_images};
use looks::Looks;
pub use network::Network;
use pod_worker::Surroundings;
use running_pods::RunningPods;
use services::Services;

/// Nodes that run pods. All pods are killed when it is dropped.
#[derive(Debug)]
pub struct Nodes {
    network: Arc<Network>,
    pods: RunningPods,
    connections: Vec<(String, watch::Sender<bool>)>,
    cordoned: watch::Sender<BTreeSet<String>>,
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
        let cordoned = watch::Sender::default();
        let looks = Looks {
            surroundings: Arc::new(surroundings),
            pods: pods.clone(),
            connections: connections
                .iter()
                .map(|(name, connection)| (name.clone(), connection.subscribe()))
                .collect(),
            cordoned: cordoned.subscribe(),
            services,
            rules: None,
            log: dir.path().join("nodes.log"),
            last_error: String::new(),
        };
        let tasks = [tokio::spawn(looks.run()), tokio::spawn(dns.run())];
        Ok(Self { network, pods, connections, cordoned, tasks })
    }

    /// Gives a node no more pods. Those that it has keep running.
    pub fn cordon(&self, node: &str) {
        self.cordoned.send_modify(|nodes| _ = nodes.insert(node.to_owned()));
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
