//! Observes all processes continuously.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::history::{History, Sample};
use super::observer::{Observer, POLL_INTERVAL};
use super::reading::Reading;

/// The pause between two samples.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

/// Collects samples in the background until it is stopped.
#[derive(Debug)]
pub(crate) struct Monitor {
    observer: Observer,
    history: Arc<Mutex<History>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Monitor {
    /// Starts observing.
    pub(crate) fn start(observer: Observer) -> Self {
        let history = Arc::new(Mutex::new(History::default()));
        let sampling = tokio::spawn(take_samples(observer.clone(), Arc::clone(&history)));
        Self { observer, history, tasks: vec![sampling] }
    }

    /// Notes that the fault begins now. `epoch` is the owner's epoch.
    pub(crate) fn begin_fault(&mut self, epoch: f64) {
        lock(&self.history).fault_began = Some((Instant::now(), epoch));
        let (observer, history) = (self.observer.clone(), Arc::clone(&self.history));
        self.tasks.push(tokio::spawn(observe_failover(observer, epoch, history)));
    }

    /// Notes that the fault ends now.
    pub(crate) fn end_fault(&self) {
        lock(&self.history).fault_ended = Some(Instant::now());
    }

    /// Stops observing and returns what was observed.
    pub(crate) fn stop(self) -> History {
        std::mem::take(&mut *lock(&self.history))
    }
}

impl Drop for Monitor {
    /// Ends the tasks, which keep Envoy running.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn lock(history: &Mutex<History>) -> MutexGuard<'_, History> {
    history.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until all replicas that respond follow an owner with a higher epoch.
async fn observe_failover(observer: Observer, epoch: f64, history: Arc<Mutex<History>>) {
    let started = Instant::now();
    loop {
        let replicas = observer.replicas().await;
        let epochs: Vec<f64> =
            replicas.iter().filter_map(Reading::known).map(|known| known.state.epoch).collect();
        if !epochs.is_empty() && epochs.iter().all(|known| *known > epoch) {
            lock(&history).failover = Some(started.elapsed());
            return;
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn take_samples(observer: Observer, history: Arc<Mutex<History>>) {
    loop {
        let began = Instant::now();
        let status = observer.status().await;
        lock(&history).samples.push(Sample { began, ended: Instant::now(), status });
        tokio::time::sleep(SAMPLE_INTERVAL).await;
    }
}
