//! Runs one pod from its start to its end, and reports its status.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::Api;
use crate::node::container::Container;
use crate::node::environment::{self, PodFacts};
use crate::node::images::{self, Image};
use crate::node::launcher::{self, Launcher};
use crate::node::network::{Attachment, Network};
use crate::node::pod_spec::PodSpec;
use crate::node::pod_status::{ContainerState, Phase, StatusReports};
use crate::node::services::Services;
use crate::node::sources::Sources;
use crate::node::volumes;

/// How soon a report, or a preparation that failed, is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// How often volumes are compared with their ConfigMaps and Secrets. The kubelet takes up to a minute.
const REFRESH: Duration = Duration::from_secs(5);

/// What all pods of a sandbox share.
#[derive(Debug)]
pub(crate) struct Surroundings {
    pub(crate) api: Api,
    pub(crate) network: Arc<Network>,
    pub(crate) images: Vec<Image>,
    /// The folder of the test, for logs.
    pub(crate) logs: PathBuf,
    pub(crate) services: watch::Receiver<Services>,
}

/// One pod.
#[derive(Debug)]
pub(crate) struct PodWorker {
    pub(crate) pod: PodSpec,
    pub(crate) attachment: Attachment,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) states: watch::Sender<Vec<ContainerState>>,
    /// When the pod must have ended; `None` while it shall run.
    pub(crate) deadline: watch::Receiver<Option<Instant>>,
    /// Whether the pod's node is connected. If not, nothing is reported.
    pub(crate) is_connected: watch::Receiver<bool>,
}

impl PodWorker {
    /// Runs the pod until it is deleted and has ended.
    pub(crate) async fn run(mut self) {
        let mut reports = StatusReports::new(SystemTime::now());
        let prepared = self.prepare(&mut reports).await;
        if let Some((launchers, sources)) = prepared {
            self.run_containers(launchers, sources, &mut reports).await;
        }
        self.report_end(&mut reports).await;
        // The namespace ends with the sandbox at the latest.
        let _ = self.surroundings.network.detach(&self.attachment).await;
    }

    /// Prepares all containers, and tries again until that succeeds. Returns `None` if the pod is deleted before.
    async fn prepare(&mut self, reports: &mut StatusReports) -> Option<(Vec<Launcher>, Sources)> {
        loop {
            match self.try_prepare().await {
                Ok(prepared) => return Some(prepared),
                Err(error) => self.states.send_modify(|states| {
                    let waiting = Phase::Waiting("CreateContainerConfigError", format!("{error:#}"));
                    states.iter_mut().for_each(|state| state.phase = waiting.clone());
                }),
            }
            // If it fails, the next attempt reports again.
            let _ = self.report(reports).await;
            if tokio::time::timeout(RETRY, self.deadline.wait_for(Option::is_some)).await.is_ok() {
                return None;
            }
        }
    }

    async fn try_prepare(&self) -> anyhow::Result<(Vec<Launcher>, Sources)> {
        let (pod, surroundings, folder) = (&self.pod, &self.surroundings, self.folder());
        let sources = Sources::read(&surroundings.api, pod, &Sources::default()).await?;
        let addresses = (self.attachment.address, surroundings.network.host());
        launcher::write_etc(pod, &folder.join("etc"), addresses)?;
        let services = surroundings.services.borrow().clone();
        let facts = self.facts();
        volumes::write(&folder, &facts, &sources)?;
        let mut launchers = Vec::new();
        for container in &pod.containers {
            let image = images::find(&surroundings.images, &container.image)?;
            let links = services.variables(&pod.namespace, pod.has_service_links);
            let variables = environment::variables(&facts, container, &sources, links)?;
            let command = environment::command(container, image, &variables)?;
            let log = surroundings.logs.join(format!("{}.{}.log", pod.name, container.name));
            let place = (folder.as_path(), self.attachment.namespace.as_str());
            launchers.push(Launcher::prepare((pod, container, image), place, log, (variables, command))?);
        }
        Ok((launchers, sources))
    }

    /// Runs all containers until they have ended, and the pod is deleted.
    async fn run_containers(
        &mut self,
        launchers: Vec<Launcher>,
        mut sources: Sources,
        reports: &mut StatusReports,
    ) {
        let mut containers = self.start_containers(launchers);
        let mut changes = self.states.subscribe();
        changes.mark_changed();
        let mut refresh = tokio::time::interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut report_at = None;
        while !(containers.is_empty() && self.deadline.borrow().is_some()) {
            tokio::select! {
                Ok(()) = changes.changed() => report_at = Some(Instant::now()),
                () = sleep_until(report_at) => {
                    report_at = self.report(reports).await.is_err().then(|| Instant::now() + RETRY);
                }
                _ = refresh.tick() => {
                    // An error is tried again with the next tick.
                    let _ = self.refresh(&mut sources).await;
                }
                Ok(_) = self.deadline.changed() => {}
                Some(_) = containers.join_next() => {}
            }
        }
    }

    fn start_containers(&self, launchers: Vec<Launcher>) -> JoinSet<()> {
        let mut running = JoinSet::new();
        for (index, (spec, launcher)) in self.pod.containers.iter().zip(launchers).enumerate() {
            let container = Container {
                spec: spec.clone(),
                index,
                launcher,
                address: self.attachment.address,
                restart: self.pod.restart,
                grace: Duration::from_secs(self.pod.grace_s),
                states: self.states.clone(),
                deadline: self.deadline.clone(),
            };
            running.spawn(container.run());
        }
        running
    }

    async fn refresh(&self, sources: &mut Sources) -> anyhow::Result<()> {
        let found = Sources::read(&self.surroundings.api, &self.pod, sources).await?;
        if found != *sources {
            volumes::write(&self.folder(), &self.facts(), &found)?;
            *sources = found;
        }
        Ok(())
    }

    async fn report(&mut self, reports: &mut StatusReports) -> anyhow::Result<()> {
        anyhow::ensure!(*self.is_connected.borrow(), "the node is not connected");
        let states = self.states.borrow().clone();
        let addresses = (self.surroundings.network.host(), self.attachment.address);
        let status = reports.status(&self.pod, addresses, &states, SystemTime::now());
        self.surroundings.api.patch_status(&self.pod.path(), &status).await
    }

    /// Reports the last status, and that nothing of the pod is left.
    async fn report_end(&mut self, reports: &mut StatusReports) {
        loop {
            let _ = self.is_connected.wait_for(|connected| *connected).await;
            let _ = self.report(reports).await;
            let options = json!({ "gracePeriodSeconds": 0, "preconditions": { "uid": self.pod.uid } });
            match self.surroundings.api.delete(&self.pod.path(), &options).await {
                Ok(()) => return,
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    }

    fn facts(&self) -> PodFacts<'_> {
        let (address, host) = (self.attachment.address, self.surroundings.network.host());
        PodFacts { pod: &self.pod, address, host }
    }

    fn folder(&self) -> PathBuf {
        self.surroundings.logs.join("pods").join(&self.pod.uid)
    }
}

/// Waits until then, or forever.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
