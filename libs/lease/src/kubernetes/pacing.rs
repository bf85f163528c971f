//! Keeps claims from flooding the API server: few run at a time, and they pause while they fail.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use signalbox_kube::LeaseError;
use signalbox_types::PoolId;
use tokio::sync::{Semaphore, SemaphorePermit, watch};
use tokio::time::timeout_at;

use super::pauses::{Outcome, Pauses};

/// Number of claims and other writes of pools' Leases that run at a time.
const MAX_CONCURRENT: usize = 16;

#[derive(Debug)]
pub(super) struct Pacing {
    permits: Semaphore,
    pauses: Mutex<Pauses>,
    /// Changes with each answer after which attempts may go on.
    resumed: watch::Sender<()>,
}

/// The right to make one attempt.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    started: Instant,
    _permit: Option<SemaphorePermit<'a>>,
}

impl Default for Pacing {
    fn default() -> Self {
        let (permits, resumed) = (Semaphore::new(MAX_CONCURRENT), watch::Sender::new(()));
        Self { permits, pauses: Mutex::default(), resumed }
    }
}

impl Pacing {
    /// Waits for one of the concurrent turns, whatever failed before.
    pub(super) async fn turn(&self) -> Turn<'_> {
        // The semaphore is never closed.
        let permit = self.permits.acquire().await.ok();
        Turn { started: Instant::now(), _permit: permit }
    }

    /// Waits until a claim of `pool` may be tried.
    pub(super) async fn turn_for(&self, pool: &PoolId) -> Turn<'_> {
        let mut resumed = self.resumed.subscribe();
        loop {
            resumed.mark_unchanged();
            let until = self.pauses().until(Instant::now(), pool);
            if let Some(until) = until {
                // Either way it is checked again.
                let _ = timeout_at(until.into(), resumed.changed()).await;
                continue;
            }
            let turn = self.turn().await;
            if self.pauses().until(turn.started, pool).is_none() {
                return turn;
            }
        }
    }

    /// Records what came of an attempt for `pool`.
    pub(super) fn record<T>(&self, turn: &Turn<'_>, pool: &PoolId, result: &Result<T, LeaseError>) {
        let outcome = outcome(result);
        self.pauses().record(turn.started, Instant::now(), pool, outcome, rand::random());
        self.resume_after(outcome);
    }

    /// Records what came of a request without a turn.
    pub(super) fn record_other<T>(&self, result: &Result<T, LeaseError>) {
        let outcome = outcome(result);
        self.pauses().record_other(Instant::now(), outcome);
        self.resume_after(outcome);
    }

    fn resume_after(&self, outcome: Outcome) {
        if !matches!(outcome, Outcome::Unavailable(_)) {
            self.resumed.send_replace(());
        }
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn outcome<T>(result: &Result<T, LeaseError>) -> Outcome {
    match result {
        Ok(_) | Err(LeaseError::Conflict | LeaseError::NotFound) => Outcome::Answered,
        Err(LeaseError::Refused(_)) => Outcome::Refused,
        Err(error @ (LeaseError::Throttled(..) | LeaseError::Unavailable(_))) => {
            Outcome::Unavailable(error.retry_after())
        }
    }
}
