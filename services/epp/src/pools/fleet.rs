//! Serves the pools of the fleet, as they come, go and move.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use signalbox_peers::Fleet;
use tokio::sync::watch;

use super::plan::{PlanEffect, PlanInput, PortPlan, WantedPool};
use super::pool_set::{OpenError, PoolSet};
use super::readiness::Readiness;

/// How often the views of all pools are checked until the replica is ready.
const READINESS_INTERVAL: Duration = Duration::from_millis(50);

/// The longest time between two checks. Nothing waits for them.
const IDLE_INTERVAL: Duration = Duration::from_secs(3_600);

/// Serves the pools of `fleet` until `stop` completes, then drains them. Pools that name no port are served on
/// `default_port`. Reports to `ready` when the replica is ready.
pub(crate) async fn serve_fleet(
    set: PoolSet,
    default_port: u16,
    mut fleet: watch::Receiver<Fleet>,
    ready: watch::Sender<bool>,
    stop: impl Future<Output = ()>,
) {
    let (plan, readiness, started) = (PortPlan::default(), Readiness::default(), Instant::now());
    let mut server = FleetServer { set, plan, readiness, started, is_synced: false };
    tokio::pin!(stop);
    loop {
        let input = tokio::select! {
            () = &mut stop => break,
            Ok(()) = fleet.changed() => server.read(&fleet.borrow_and_update(), default_port),
            () = tokio::time::sleep(server.until_next_check(*ready.borrow())) => PlanInput::Tick,
        };
        server.handle(input).await;
        let is_ready = server.is_ready();
        ready.send_if_modified(|before| std::mem::replace(before, is_ready) != is_ready);
    }
    server.set.drain().await;
}

struct FleetServer {
    set: PoolSet,
    plan: PortPlan,
    readiness: Readiness,
    started: Instant,
    /// Whether the fleet was heard.
    is_synced: bool,
}

impl FleetServer {
    /// Returns what a new state of the fleet means for the plan.
    fn read(&mut self, fleet: &Fleet, default_port: u16) -> PlanInput {
        if !fleet.is_synced {
            return PlanInput::Tick;
        }
        self.is_synced = true;
        let wanted = fleet.pools.iter().map(|(pool, served)| {
            let port = served.port.unwrap_or(default_port);
            (pool.to_string(), WantedPool { port, created_ms: served.created_ms })
        });
        PlanInput::Pools(wanted.collect::<BTreeMap<_, _>>())
    }

    fn until_next_check(&self, is_ready: bool) -> Duration {
        let longest = if is_ready { IDLE_INTERVAL } else { READINESS_INTERVAL };
        let until_tick = self.plan.next_tick().map(|at| at.saturating_sub(self.started.elapsed()));
        until_tick.unwrap_or(longest).min(longest)
    }

    fn is_ready(&mut self) -> bool {
        self.readiness.update(self.started.elapsed(), self.is_synced, self.set.views())
    }

    async fn handle(&mut self, input: PlanInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in self.plan.handle(self.started.elapsed(), input) {
                inputs.extend(self.apply(effect).await);
            }
        }
    }

    /// Applies an effect and returns what came of it.
    async fn apply(&mut self, effect: PlanEffect) -> Option<PlanInput> {
        match effect {
            PlanEffect::Start(pool) => {
                tracing::info!(pool, "following a new pool");
                if let Err(error) = self.set.start(Some(&pool)).await {
                    tracing::error!(pool, %error, "cannot start the actors of a pool; retrying");
                }
            }
            PlanEffect::OpenPort { pool, port, is_retry } => {
                return Some(self.open_port(pool, port, is_retry).await);
            }
            PlanEffect::RetirePort(pool) => {
                tracing::info!(pool, "retiring the previous port of a pool");
                self.set.retire_previous(&pool);
            }
            PlanEffect::ClosePort(pool) => {
                tracing::info!(pool, "closing the port of a pool");
                self.set.close(&pool);
            }
            PlanEffect::ReportConflict { pool, port, holder } => {
                tracing::warn!(pool, port, holder, "not serving a pool, as an older pool has its port");
            }
            PlanEffect::Stop(pool) => {
                tracing::info!(pool, "taking a pool that is gone out of service");
                self.set.stop(&pool);
            }
        }
        None
    }

    /// Opens the port of a pool. Starts to follow the pool before if that failed.
    async fn open_port(&mut self, pool: String, port: u16, is_retry: bool) -> PlanInput {
        if !self.set.has(&pool)
            && let Err(error) = self.set.start(Some(&pool)).await
        {
            tracing::debug!(pool, %error, "still cannot start the actors of a pool; retrying");
            return PlanInput::OpenFailed(pool, rand::random());
        }
        match self.set.open(&pool, port).await {
            Ok(()) => {
                tracing::info!(pool, port, "serving a pool");
                PlanInput::Opened(pool)
            }
            Err(error) => {
                if is_retry || matches!(error, OpenError::Leaving) {
                    tracing::debug!(pool, port, %error, "still cannot open the port of a pool; retrying");
                } else {
                    tracing::warn!(pool, port, %error, "cannot open the port of a pool; retrying");
                }
                PlanInput::OpenFailed(pool, rand::random())
            }
        }
    }
}
