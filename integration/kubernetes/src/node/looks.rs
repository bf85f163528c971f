//! Compares the pods that run with those that shall run, ten times a second.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::node::pod_spec::PodSpec;
use crate::node::pod_worker::{PodWorker, Surroundings};
use crate::node::running_pods::{RunningPod, RunningPods};
use crate::node::scheduler::schedule;
use crate::node::services::Services;

/// The time between two looks at the pods.
const INTERVAL: Duration = Duration::from_millis(100);

/// The task that compares what runs with what shall run.
#[derive(Debug)]
pub(crate) struct Looks {
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) pods: RunningPods,
    pub(crate) connections: Vec<(String, watch::Receiver<bool>)>,
    /// The nodes that get no more pods.
    pub(crate) cordoned: watch::Receiver<BTreeSet<String>>,
    pub(crate) services: watch::Sender<Services>,
    /// The rules for Services that are in effect.
    pub(crate) rules: Option<String>,
    pub(crate) log: PathBuf,
    pub(crate) last_error: String,
}

impl Looks {
    /// Looks until the task is aborted.
    pub(crate) async fn run(mut self) {
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
        let cordoned = self.cordoned.borrow().clone();
        let open = self
            .connections
            .iter()
            .filter(|(name, connected)| *connected.borrow() && !cordoned.contains(name));
        let open: Vec<&str> = open.map(|(name, _)| name.as_str()).collect();
        for binding in schedule(pods, &open) {
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

fn append(log: &Path, line: &str) {
    use std::io::Write;
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    // A log that cannot be written must not stop the nodes.
    let _ = file.and_then(|mut file| writeln!(file, "{line}"));
}
