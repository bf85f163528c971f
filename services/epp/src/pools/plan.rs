//! Decides which pools are served on which ports, as pools come, go and move. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use signalbox_actors::{Backoff, BackoffPolicy};

/// Delays between attempts to open a port that is taken.
const RETRY: BackoffPolicy = BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(2) };

/// A pool that exists, and where it is to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WantedPool {
    pub(super) port: u16,
    /// When it was created, in milliseconds since the Unix epoch. Of two pools with one port, the older one
    /// gets it.
    pub(super) created_ms: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum PlanInput {
    /// These are all pools, by name.
    Pools(BTreeMap<String, WantedPool>),
    /// A port that was to be opened is open.
    Opened(String),
    /// A port that was to be opened could not be bound. The random number from 0 to 1 spreads the retries.
    OpenFailed(String, f64),
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PlanEffect {
    /// Start to follow a pool.
    Start(String),
    /// Open a port for a pool and report how that went.
    OpenPort {
        pool: String,
        port: u16,
        /// Whether an attempt failed before.
        is_retry: bool,
    },
    /// Close the port that the pool had before it moved, when gateways had time to notice.
    RetirePort(String),
    /// Close the pool's port at once: it belongs to another pool now, or the wanted one does.
    ClosePort(String),
    /// The pool's port belongs to an older pool.
    ReportConflict { pool: String, port: u16, holder: String },
    /// The pool is gone: take its port out of service and stop to follow it. Another pool may open the port before.
    Stop(String),
}

/// Which pools are served on which ports.
#[derive(Debug, Default)]
pub(super) struct PortPlan {
    pools: BTreeMap<String, PlannedPool>,
}

#[derive(Debug)]
struct PlannedPool {
    wanted: WantedPool,
    /// The port that is open for the pool.
    open: Option<u16>,
    attempt: Attempt,
    /// The pool that has this pool's port, if that was reported.
    holder: Option<String>,
}

/// The attempt to open the wanted port.
#[derive(Debug)]
enum Attempt {
    NotNeeded,
    Running(Backoff),
    Failed(Backoff, Duration),
}

impl PortPlan {
    /// Applies `input` at the time `now` and returns what to do.
    pub(super) fn handle(&mut self, now: Duration, input: PlanInput) -> Vec<PlanEffect> {
        let mut effects = Vec::new();
        match input {
            PlanInput::Pools(wanted) => self.set_pools(wanted, &mut effects),
            PlanInput::Opened(name) => {
                if let Some(pool) = self.pools.get_mut(&name) {
                    pool.attempt = Attempt::NotNeeded;
                    if pool.open.replace(pool.wanted.port).is_some() {
                        effects.push(PlanEffect::RetirePort(name));
                    }
                }
            }
            PlanInput::OpenFailed(name, jitter) => {
                if let Some(PlannedPool { attempt, .. }) = self.pools.get_mut(&name)
                    && let Attempt::Running(mut backoff) = std::mem::replace(attempt, Attempt::NotNeeded)
                {
                    let delay = backoff.on_failure(jitter);
                    *attempt = Attempt::Failed(backoff, now + delay);
                }
            }
            PlanInput::Tick => {}
        }
        self.assign_ports(now, &mut effects);
        effects
    }

    /// Returns when [`PlanInput::Tick`] is due; `None` if nothing waits.
    pub(super) fn next_tick(&self) -> Option<Duration> {
        let due = |pool: &PlannedPool| match pool.attempt {
            Attempt::Failed(_, at) => Some(at),
            Attempt::NotNeeded | Attempt::Running(_) => None,
        };
        self.pools.values().filter_map(due).min()
    }

    fn set_pools(&mut self, wanted: BTreeMap<String, WantedPool>, effects: &mut Vec<PlanEffect>) {
        self.pools.retain(|name, _| {
            let is_kept = wanted.contains_key(name);
            effects.extend((!is_kept).then(|| PlanEffect::Stop(name.clone())));
            is_kept
        });
        for (name, wanted) in wanted {
            let pool = self.pools.entry(name.clone()).or_insert_with(|| {
                effects.push(PlanEffect::Start(name));
                PlannedPool { wanted, open: None, attempt: Attempt::NotNeeded, holder: None }
            });
            if pool.wanted.port != wanted.port {
                pool.attempt = Attempt::NotNeeded;
            }
            pool.wanted = wanted;
        }
    }

    fn assign_ports(&mut self, now: Duration, effects: &mut Vec<PlanEffect>) {
        let holders = self.holders();
        let taken: BTreeSet<u16> = holders.keys().copied().collect();
        // Ports are closed first, so that other pools can open them.
        for (name, pool) in &mut self.pools {
            let port = pool.wanted.port;
            let holder = holders.get(&port).filter(|holder| *holder != name);
            if holder != pool.holder.as_ref() {
                pool.holder = holder.cloned();
                effects.extend(holder.map(|holder| PlanEffect::ReportConflict {
                    pool: name.clone(),
                    port,
                    holder: holder.clone(),
                }));
            }
            let is_lost = |open: &u16| holder.is_some() || (*open != port && taken.contains(open));
            if pool.open.take_if(|open| is_lost(open)).is_some() {
                effects.push(PlanEffect::ClosePort(name.clone()));
            }
        }
        let holding = self.pools.iter_mut().filter(|(_, pool)| pool.holder.is_none());
        effects.extend(holding.filter_map(|(name, pool)| pool.open_port(name, now)));
    }

    /// Returns the pool that gets each port: the oldest one that wants it.
    fn holders(&self) -> BTreeMap<u16, String> {
        let mut holders: BTreeMap<u16, (u64, &String)> = BTreeMap::new();
        for (name, PlannedPool { wanted, .. }) in &self.pools {
            let claim = (wanted.created_ms, name);
            holders.entry(wanted.port).and_modify(|holder| *holder = claim.min(*holder)).or_insert(claim);
        }
        holders.into_iter().map(|(port, (_, name))| (port, name.clone())).collect()
    }
}

impl PlannedPool {
    /// Begins an attempt to open the wanted port, if one is due.
    fn open_port(&mut self, name: &str, now: Duration) -> Option<PlanEffect> {
        if self.open == Some(self.wanted.port) {
            self.attempt = Attempt::NotNeeded;
            return None;
        }
        let (backoff, is_retry) = match std::mem::replace(&mut self.attempt, Attempt::NotNeeded) {
            Attempt::NotNeeded => (Backoff::new(RETRY), false),
            Attempt::Failed(backoff, at) if at <= now => (backoff, true),
            waiting => {
                self.attempt = waiting;
                return None;
            }
        };
        self.attempt = Attempt::Running(backoff);
        Some(PlanEffect::OpenPort { pool: name.to_owned(), port: self.wanted.port, is_retry })
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
