//! The pods that have processes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::node::pod_status::ContainerState;

/// A pod that has processes.
#[derive(Debug)]
pub(crate) struct RunningPod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) address: IpAddr,
    pub(crate) states: watch::Receiver<Vec<ContainerState>>,
    /// When the pod must have ended; `None` while it shall run.
    pub(crate) deadline: watch::Sender<Option<Instant>>,
}

/// All pods that have processes, by UID.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunningPods(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pods: Mutex<BTreeMap<String, RunningPod>>,
    workers: Mutex<JoinSet<()>>,
    ended: AtomicU64,
}

impl RunningPods {
    /// Adds a pod and runs its worker, which ends with the pod.
    pub(crate) fn start(
        &self,
        uid: String,
        pod: RunningPod,
        worker: impl Future<Output = ()> + Send + 'static,
    ) {
        self.pods().insert(uid.clone(), pod);
        let inner = Arc::downgrade(&self.0);
        let mut workers = self.0.workers.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended leave the set.
        while workers.try_join_next().is_some() {}
        workers.spawn(async move {
            worker.await;
            if let Some(inner) = inner.upgrade() {
                inner.pods.lock().unwrap_or_else(PoisonError::into_inner).remove(&uid);
                inner.ended.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    pub(crate) fn contains(&self, uid: &str) -> bool {
        self.pods().contains_key(uid)
    }

    pub(crate) fn count(&self) -> usize {
        self.pods().len()
    }

    /// Returns how many pods have ended so far.
    pub(crate) fn ended(&self) -> u64 {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// Ends a pod within `grace`. A deadline moves only forward.
    pub(crate) fn end(&self, uid: &str, grace: Duration) {
        if let Some(pod) = self.pods().get(uid) {
            let new = Instant::now() + grace;
            pod.deadline.send_if_modified(|deadline| {
                let is_sooner = deadline.is_none_or(|present| new < present);
                if is_sooner {
                    *deadline = Some(new);
                }
                is_sooner
            });
        }
    }

    /// Ends all pods at once that are not among the objects: they were deleted without grace.
    pub(crate) fn end_all_except(&self, objects: &[Value]) {
        let known = |uid: &str| objects.iter().any(|object| object["metadata"]["uid"] == uid);
        let gone: Vec<String> = self.pods().keys().filter(|uid| !known(uid)).cloned().collect();
        gone.iter().for_each(|uid| self.end(uid, Duration::ZERO));
    }

    /// Returns the addresses of a node's pods.
    pub(crate) fn addresses(&self, node: &str) -> Vec<IpAddr> {
        self.pods().values().filter(|pod| pod.node == node).map(|pod| pod.address).collect()
    }

    /// Sends a signal to all processes of a pod, with the flag of `kill`.
    pub(crate) fn kill(&self, namespace: &str, name: &str, flag: &str) -> anyhow::Result<()> {
        let pods = self.pods();
        let pod = pods.values().find(|pod| pod.namespace == namespace && pod.name == name);
        let pod = pod.with_context(|| format!("pod {namespace}/{name} does not run"))?;
        let processes: Vec<u32> = pod.states.borrow().iter().filter_map(|state| state.process).collect();
        ensure!(!processes.is_empty(), "no container of pod {namespace}/{name} runs");
        for process in processes {
            let status = Command::new("kill").args([flag, &process.to_string()]).status()?;
            ensure!(status.success(), "cannot send a signal to process {process} of pod {namespace}/{name}");
        }
        Ok(())
    }

    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, RunningPod>> {
        // No code panics while it holds the lock.
        self.0.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
