//! Access to the engine's task: submits requests, follows their progress, sets faults and reads snapshots.
//!
//! Commands go through one unbounded queue. Its length is bounded all the same: a request needs one of
//! [`MAX_LIVE_REQUESTS`] permits to be submitted, keeps it while its [`RequestHandle`] lives, and sends at
//! most one cancellation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::command::{Command, Progress, Stage};
use super::engine_task::EngineTask;
use super::faults::EngineFault;
use super::snapshot::Snapshot;
use crate::engine::{AdapterId, Arrival, Engine, Rejection, RequestId, Stats, Usage};
use crate::tokenizer::EncodedPrompt;

/// Maximum number of requests in a pod, running and waiting. Further requests wait outside the engine.
const MAX_LIVE_REQUESTS: usize = 16_384;

/// The pod stopped before the request finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pod is stopping")]
pub(crate) struct PodStopped;

/// Why a request was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SubmitError {
    Rejected(Rejection),
    Stopped,
}

impl From<PodStopped> for SubmitError {
    fn from(_: PodStopped) -> Self {
        Self::Stopped
    }
}

/// A handle to the engine's task.
pub(crate) struct EngineHandle {
    commands: mpsc::UnboundedSender<Command>,
    permits: Arc<Semaphore>,
    snapshots: watch::Receiver<Snapshot>,
    next_id: AtomicU64,
}

/// A handle to one live request. Dropping it cancels the request.
pub(crate) struct RequestHandle {
    id: RequestId,
    progress: watch::Receiver<Progress>,
    commands: mpsc::UnboundedSender<Command>,
    _permit: OwnedSemaphorePermit,
}

impl EngineHandle {
    /// Spawns the task that runs `engine` at `speed` times real time until `stop` is cancelled.
    pub(crate) fn spawn(engine: Engine, speed: f64, stop: CancellationToken) -> Self {
        let (commands, received) = mpsc::unbounded_channel();
        let mut latest = Snapshot::default();
        latest.update(&engine);
        let (publish, snapshots) = watch::channel(latest.clone());
        tokio::spawn(EngineTask::new(engine, speed, latest, publish).run(received, stop));
        let permits = Arc::new(Semaphore::new(MAX_LIVE_REQUESTS));
        Self { commands, permits, snapshots, next_id: AtomicU64::new(0) }
    }

    /// Submits a request to the engine; returns once the engine has accepted it. `chain` are the hashes of the
    /// blocks of prompt and answer.
    pub(crate) async fn submit(
        &self,
        prompt: &EncodedPrompt,
        chain: Arc<[u64]>,
        adapter: Option<AdapterId>,
        max_output_tokens: Option<u32>,
    ) -> Result<RequestHandle, SubmitError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| PodStopped)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let waiting = Progress { produced_tokens: 0, stage: Stage::Submitted };
        let (report, progress) = watch::channel(waiting);
        let arrival = Arrival { id, chain, adapter, prompt_tokens: prompt.token_count, max_output_tokens };
        self.commands.send(Command::Submit(arrival, report)).map_err(|_| PodStopped)?;
        // From here on dropping the handle cancels the request, also when the caller drops this future.
        let mut request = RequestHandle { id, progress, commands: self.commands.clone(), _permit: permit };
        match request.wait_for(|progress| progress.stage != Stage::Submitted).await?.stage {
            Stage::Rejected(reason) => Err(SubmitError::Rejected(reason)),
            Stage::Submitted | Stage::Accepted | Stage::Finished(_) => Ok(request),
        }
    }

    /// Pauses or resumes the engine.
    pub(crate) fn set_fault(&self, fault: EngineFault) {
        // Has no effect on a pod that has stopped.
        let _ = self.commands.send(Command::SetFault(fault));
    }

    /// Returns the latest snapshot.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Waits until the stats satisfy `predicate`; returns the last stats if the pod stops first.
    pub(crate) async fn wait_for_stats(&self, mut predicate: impl FnMut(&Stats) -> bool) -> Stats {
        let mut snapshots = self.snapshots.clone();
        // An error means that the pod has stopped; the last snapshot remains readable.
        let _ = snapshots.wait_for(|snapshot| predicate(&snapshot.stats)).await;
        snapshots.borrow().stats
    }
}

impl RequestHandle {
    /// Returns the request's number, which is unique within the pod.
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// Waits until the progress satisfies `predicate`, which may be the case already.
    pub(crate) async fn wait_for(
        &mut self,
        predicate: impl FnMut(&Progress) -> bool,
    ) -> Result<Progress, PodStopped> {
        self.progress.wait_for(predicate).await.map(|progress| *progress).map_err(|_| PodStopped)
    }

    /// Waits until the request has finished.
    pub(crate) async fn finished(&mut self) -> Result<Usage, PodStopped> {
        match self.wait_for(|progress| matches!(progress.stage, Stage::Finished(_))).await?.stage {
            Stage::Finished(usage) => Ok(usage),
            Stage::Submitted | Stage::Accepted | Stage::Rejected(_) => Err(PodStopped),
        }
    }
}

impl Drop for RequestHandle {
    fn drop(&mut self) {
        // Sending fails when the pod has stopped; then there is nothing to cancel. The task ignores the
        // cancellation of a finished request.
        let _ = self.commands.send(Command::Cancel(self.id));
    }
}
