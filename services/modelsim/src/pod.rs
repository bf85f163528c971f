//! The shell around one engine: a task that owns it, sleeps until its next pass ends, and tells each request how
//! far it is.
//!
//! Progress goes through a `watch` channel per request: it holds only the latest count of tokens (the text follows
//! from the count), so a slow reader costs no memory and never holds up the engine; it just gets more words at once.
//! Commands go through one unbounded queue, bounded in fact: a request needs one of [`MAX_LIVE_REQUESTS`] places to
//! submit, keeps it while its [`Ticket`] lives, and sends at most one cancellation.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::engine::{
    AdapterId, AdapterReading, Arrival, Effect, Engine, Input, Rejection, RequestId, Stats, Usage,
};
use crate::faults::EngineFault;
use crate::histogram::{FIRST_TOKEN_BOUNDS, Histogram, INTER_TOKEN_BOUNDS};
use crate::tokens::Encoded;

/// Requests a pod holds at once, running and waiting; more wait for a place outside the engine.
const MAX_LIVE_REQUESTS: usize = 16_384;

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Submitted,
    Accepted,
    Finished(Usage),
    Rejected(Rejection),
}

/// How far a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) produced_tokens: u32,
    pub(crate) stage: Stage,
}

/// The pod ended before the request did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pod is stopping")]
pub(crate) struct PodStopped;

/// Why a request was not taken.
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

enum Command {
    Submit(Arrival, watch::Sender<Progress>),
    Cancel(RequestId),
    Behave(EngineFault),
}

/// What the metrics page shows of a pod.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) stats: Stats,
    pub(crate) adapters: AdapterReading,
    /// Unix time at which it was taken.
    pub(crate) at_seconds: f64,
    /// Wall-clock time from arrival to first token.
    pub(crate) first_token: Histogram,
    /// Wall-clock time from each token of an answer to the next.
    pub(crate) inter_token: Histogram,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            stats: Stats::default(),
            adapters: AdapterReading::default(),
            at_seconds: 0.0,
            first_token: Histogram::new(&FIRST_TOKEN_BOUNDS),
            inter_token: Histogram::new(&INTER_TOKEN_BOUNDS),
        }
    }
}

impl Snapshot {
    /// Brings everything but the histograms up to date.
    fn read(&mut self, engine: &Engine) {
        self.stats = engine.stats();
        self.adapters = engine.adapters();
        self.at_seconds = unix_seconds();
    }
}

/// The time by the wall clock.
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The way to a pod's task.
pub(crate) struct Pod {
    commands: mpsc::UnboundedSender<Command>,
    places: Arc<Semaphore>,
    snapshots: watch::Receiver<Snapshot>,
    next_id: AtomicU64,
}

/// One live request. Dropping it cancels the request.
pub(crate) struct Ticket {
    id: RequestId,
    progress: watch::Receiver<Progress>,
    commands: mpsc::UnboundedSender<Command>,
    _place: OwnedSemaphorePermit,
}

impl Pod {
    /// Starts the task that runs `engine` at `speed` times real time until `stop`.
    pub(crate) fn spawn(engine: Engine, speed: f64, stop: CancellationToken) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let mut latest = Snapshot::default();
        latest.read(&engine);
        let (publish, snapshots) = watch::channel(latest.clone());
        let worker = Worker {
            engine,
            clock: Clock { origin: Instant::now(), speed, stands_at_us: None },
            followers: HashMap::new(),
            effects: Vec::new(),
            latest,
            publish,
        };
        tokio::spawn(worker.run(inbox, stop));
        let places = Arc::new(Semaphore::new(MAX_LIVE_REQUESTS));
        Self { commands, places, snapshots, next_id: AtomicU64::new(0) }
    }

    /// Hands a request to the engine; returns once it has been accepted.
    pub(crate) async fn submit(
        &self,
        prompt: &Encoded,
        adapter: Option<AdapterId>,
        max_output_tokens: Option<u32>,
    ) -> Result<Ticket, SubmitError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| PodStopped)?;
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let waiting = Progress { produced_tokens: 0, stage: Stage::Submitted };
        let (report, progress) = watch::channel(waiting);
        let arrival = Arrival {
            id,
            chain: Arc::clone(&prompt.chain),
            adapter,
            prompt_tokens: prompt.token_count,
            max_output_tokens,
        };
        self.commands.send(Command::Submit(arrival, report)).map_err(|_| PodStopped)?;
        // From here on the ticket's drop cancels the request, also if this call is given up.
        let mut ticket = Ticket { id, progress, commands: self.commands.clone(), _place: place };
        match ticket.wait_for(|progress| progress.stage != Stage::Submitted).await?.stage {
            Stage::Rejected(reason) => Err(SubmitError::Rejected(reason)),
            Stage::Submitted | Stage::Accepted | Stage::Finished(_) => Ok(ticket),
        }
    }

    /// Has the engine get stuck, or go on.
    pub(crate) fn behave(&self, fault: EngineFault) {
        // A pod that has stopped does neither.
        let _ = self.commands.send(Command::Behave(fault));
    }

    /// The latest reading.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.snapshots.borrow().clone()
    }

    /// Waits until a reading satisfies `predicate`; the last one if the pod stops before.
    pub(crate) async fn stats_when(&self, mut predicate: impl FnMut(&Stats) -> bool) -> Stats {
        let mut snapshots = self.snapshots.clone();
        // An error means that the pod stopped; its last reading stays.
        let _ = snapshots.wait_for(|snapshot| predicate(&snapshot.stats)).await;
        snapshots.borrow().stats
    }
}

impl Ticket {
    /// The request's number, unique within the pod.
    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    /// Waits until the request is as far as `enough` wants, which may be at once.
    pub(crate) async fn wait_for(
        &mut self,
        enough: impl FnMut(&Progress) -> bool,
    ) -> Result<Progress, PodStopped> {
        self.progress.wait_for(enough).await.map(|progress| *progress).map_err(|_| PodStopped)
    }

    /// Waits until the request has finished.
    pub(crate) async fn finished(&mut self) -> Result<Usage, PodStopped> {
        match self.wait_for(|progress| matches!(progress.stage, Stage::Finished(_))).await?.stage {
            Stage::Finished(usage) => Ok(usage),
            Stage::Submitted | Stage::Accepted | Stage::Rejected(_) => Err(PodStopped),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The pod may have stopped; then there is nothing left to cancel. Finished requests are unknown to it.
        let _ = self.commands.send(Command::Cancel(self.id));
    }
}

/// Virtual time: microseconds since the origin, times the speed.
struct Clock {
    origin: Instant,
    speed: f64,
    /// Set while it stands still.
    stands_at_us: Option<u64>,
}

impl Clock {
    fn now_us(&self) -> u64 {
        let running = || (self.origin.elapsed().as_secs_f64() * 1e6 * self.speed) as u64;
        self.stands_at_us.unwrap_or_else(running)
    }

    /// When it will be `at_us`; never while it stands still.
    fn instant_at(&self, at_us: u64) -> Option<Instant> {
        let runs = self.stands_at_us.is_none();
        runs.then(|| self.origin + Duration::from_secs_f64(self.wall_seconds(at_us)))
    }

    fn stop(&mut self) {
        self.stands_at_us = Some(self.now_us());
    }

    /// Goes on from where it stands.
    fn go_on(&mut self) {
        if let Some(at_us) = self.stands_at_us.take() {
            let since_origin = Duration::from_secs_f64(self.wall_seconds(at_us));
            // An instant before the machine's start cannot be told: then it goes on a little later than it stood.
            self.origin = Instant::now().checked_sub(since_origin).unwrap_or(self.origin);
        }
    }

    fn wall_seconds(&self, virtual_us: u64) -> f64 {
        virtual_us as f64 / 1e6 / self.speed
    }
}

struct Follower {
    report: watch::Sender<Progress>,
    arrived_us: u64,
    /// When its last token was produced.
    last_token_us: u64,
}

impl Follower {
    /// Reports a token that was produced at `at_us`, and says how long after `since_us` that was.
    fn token_at(&mut self, at_us: u64, since_us: u64) -> u64 {
        self.last_token_us = at_us;
        self.report.send_modify(|progress| progress.produced_tokens += 1);
        at_us.saturating_sub(since_us)
    }
}

struct Worker {
    engine: Engine,
    clock: Clock,
    followers: HashMap<RequestId, Follower>,
    /// Kept between steps for its memory.
    effects: Vec<Effect>,
    latest: Snapshot,
    publish: watch::Sender<Snapshot>,
}

impl Worker {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Command>, stop: CancellationToken) {
        loop {
            let wakeup = self.engine.next_wakeup_us().and_then(|at_us| self.clock.instant_at(at_us));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = sleep_until(wakeup) => self.step(self.clock.now_us(), Input::Tick),
            }
            self.latest.read(&self.engine);
            self.publish.send_replace(self.latest.clone());
        }
    }

    fn obey(&mut self, command: Command) {
        let now_us = self.clock.now_us();
        match command {
            Command::Submit(arrival, report) => {
                let id = arrival.id;
                self.followers.insert(id, Follower { report, arrived_us: now_us, last_token_us: now_us });
                self.step(now_us, Input::Arrive(arrival));
                // A rejected one is no longer followed.
                if let Some(follower) = self.followers.get(&id) {
                    follower.report.send_modify(|progress| progress.stage = Stage::Accepted);
                }
            }
            Command::Cancel(id) => {
                if self.followers.remove(&id).is_some() {
                    self.step(now_us, Input::Cancel(id));
                }
            }
            Command::Behave(EngineFault::Wedged) => self.clock.stop(),
            Command::Behave(EngineFault::Normal) => self.clock.go_on(),
        }
    }

    fn step(&mut self, now_us: u64, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.engine.step(now_us, input, &mut effects);
        for effect in effects.drain(..) {
            self.perform(&effect);
        }
        self.effects = effects;
    }

    fn perform(&mut self, effect: &Effect) {
        match *effect {
            Effect::FirstToken { id, at_us, .. } => {
                if let Some(follower) = self.followers.get_mut(&id) {
                    let waited_us = follower.token_at(at_us, follower.arrived_us);
                    self.latest.first_token.observe(self.clock.wall_seconds(waited_us));
                }
            }
            Effect::Token { id, at_us } => {
                if let Some(follower) = self.followers.get_mut(&id) {
                    let waited_us = follower.token_at(at_us, follower.last_token_us);
                    self.latest.inter_token.observe(self.clock.wall_seconds(waited_us));
                }
            }
            Effect::Finished { id, usage, .. } => self.conclude(id, Stage::Finished(usage)),
            Effect::Rejected { id, reason } => self.conclude(id, Stage::Rejected(reason)),
        }
    }

    fn conclude(&mut self, id: RequestId, stage: Stage) {
        if let Some(follower) = self.followers.remove(&id) {
            follower.report.send_modify(|progress| progress.stage = stage);
        }
    }
}

async fn sleep_until(wakeup: Option<Instant>) {
    match wakeup {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
