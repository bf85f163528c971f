//! The task that owns one engine: it sleeps until the engine's next wakeup and reports the progress of each
//! request.
//!
//! Progress goes through one `watch` channel per request, which holds only the latest token count; the text
//! follows from the count. A slow reader therefore costs no memory and never blocks the engine; it gets more
//! words at once.

use std::collections::HashMap;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clock::VirtualClock;
use super::command::{Command, Progress, Stage};
use super::faults::EngineFault;
use super::snapshot::Snapshot;
use crate::engine::{Effect, Engine, Input, RequestId};

/// A request in the engine, with the channel for its progress. Times are virtual.
struct LiveRequest {
    report: watch::Sender<Progress>,
    arrived_us: u64,
    /// Time of the last token, or of the arrival before the first.
    last_token_us: u64,
}

impl LiveRequest {
    /// Reports a token produced at `at_us`; returns the time since `since_us`.
    fn report_token(&mut self, at_us: u64, since_us: u64) -> u64 {
        self.last_token_us = at_us;
        self.report.send_modify(|progress| progress.produced_tokens += 1);
        at_us.saturating_sub(since_us)
    }
}

/// The state of the task.
pub(super) struct EngineTask {
    engine: Engine,
    clock: VirtualClock,
    requests: HashMap<RequestId, LiveRequest>,
    /// Kept between steps to reuse the allocation.
    effects: Vec<Effect>,
    latest: Snapshot,
    publish: watch::Sender<Snapshot>,
}

impl EngineTask {
    /// Prepares a task that runs `engine` at `speed` times real time and publishes its snapshots.
    pub(super) fn new(
        engine: Engine,
        speed: f64,
        latest: Snapshot,
        publish: watch::Sender<Snapshot>,
    ) -> Self {
        let clock = VirtualClock::start(speed);
        Self { engine, clock, requests: HashMap::new(), effects: Vec::new(), latest, publish }
    }

    /// Runs until `stop` is cancelled or all handles are gone.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        stop: CancellationToken,
    ) {
        loop {
            let wakeup = self.engine.next_wakeup_us().and_then(|at_us| self.clock.instant_at(at_us));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                command = commands.recv() => match command {
                    Some(command) => self.execute(command),
                    None => return,
                },
                () = sleep_until(wakeup) => self.step(self.clock.now_us(), Input::Tick),
            }
            self.latest.update(&self.engine);
            self.publish.send_replace(self.latest.clone());
        }
    }

    fn execute(&mut self, command: Command) {
        let now_us = self.clock.now_us();
        match command {
            Command::Submit(arrival, report) => {
                let id = arrival.id;
                self.requests.insert(id, LiveRequest { report, arrived_us: now_us, last_token_us: now_us });
                self.step(now_us, Input::Arrive(arrival));
                // A rejected request is no longer in the map.
                if let Some(request) = self.requests.get(&id) {
                    request.report.send_modify(|progress| progress.stage = Stage::Accepted);
                }
            }
            Command::Cancel(id) => {
                if self.requests.remove(&id).is_some() {
                    self.step(now_us, Input::Cancel(id));
                }
            }
            Command::SetFault(EngineFault::Wedged) => self.clock.pause(),
            Command::SetFault(EngineFault::Normal) => self.clock.resume(),
        }
    }

    fn step(&mut self, now_us: u64, input: Input) {
        let mut effects = std::mem::take(&mut self.effects);
        self.engine.step(now_us, input, &mut effects);
        for effect in effects.drain(..) {
            self.report(&effect);
        }
        self.effects = effects;
    }

    fn report(&mut self, effect: &Effect) {
        match *effect {
            Effect::FirstToken { id, at_us, .. } => {
                if let Some(request) = self.requests.get_mut(&id) {
                    let waited_us = request.report_token(at_us, request.arrived_us);
                    self.latest.first_token.observe(self.clock.wall_seconds(waited_us));
                }
            }
            Effect::Token { id, at_us } => {
                if let Some(request) = self.requests.get_mut(&id) {
                    let waited_us = request.report_token(at_us, request.last_token_us);
                    self.latest.inter_token.observe(self.clock.wall_seconds(waited_us));
                }
            }
            Effect::Finished { id, at_us, usage } => {
                if let Some(request) = self.requests.get(&id) {
                    let took_us = at_us.saturating_sub(request.arrived_us);
                    self.latest.request.observe(self.clock.wall_seconds(took_us));
                    self.latest.prompt_tokens.observe(f64::from(usage.prompt_tokens));
                    self.latest.output_tokens.observe(f64::from(usage.output_tokens));
                }
                self.finish(id, Stage::Finished(usage));
            }
            Effect::Rejected { id, reason } => self.finish(id, Stage::Rejected(reason)),
        }
    }

    fn finish(&mut self, id: RequestId, stage: Stage) {
        if let Some(request) = self.requests.remove(&id) {
            request.report.send_modify(|progress| progress.stage = stage);
        }
    }
}

async fn sleep_until(wakeup: Option<Instant>) {
    match wakeup {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
