//! The connection to the pool's owner, which `ViewKeeper` shares with the tasks that send to the owner.

use std::time::{Duration, Instant};

use signalbox_actors::{Backoff, BackoffPolicy};
use tonic::transport::Channel;

/// Number of the stream to the owning aggregator and the channel to it; `None` while no owner is known.
pub(crate) type OwnerConnection = Option<(u64, Channel)>;

/// Delays before a broken stream to the owner is opened again: short at first, because feedback waits.
const REOPENING: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// Spaces the attempts to open a stream to the owner, so that the replicas do not rush an owner that refuses them or
/// restarts.
#[derive(Debug)]
pub(super) struct Reopening(Backoff);

impl Default for Reopening {
    fn default() -> Self {
        Self(Backoff::new(REOPENING))
    }
}

impl Reopening {
    /// Waits before the next attempt. The last stream was opened at `started`; `has_delivered` says whether a message
    /// arrived on it. An owner that refuses a stream does so at once, so one that lasted was accepted, too.
    pub(super) async fn wait(&mut self, started: Instant, has_delivered: bool) {
        let was_accepted = has_delivered || started.elapsed() >= REOPENING.cap;
        tokio::time::sleep(self.delay(was_accepted, rand::random())).await;
    }

    fn delay(&mut self, was_accepted: bool, jitter: f64) -> Duration {
        if was_accepted {
            self.0.on_success();
        }
        self.0.on_failure(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_until_the_owner_accepts_a_stream() {
        let mut reopening = Reopening::default();
        let refused: Vec<_> = (0..7).map(|_| reopening.delay(false, 0.0).as_millis()).collect();
        assert_eq!(refused, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(reopening.delay(true, 0.0), REOPENING.base);
        let [mine, others] = [0.9, 0.1].map(|jitter| Reopening::default().delay(false, jitter));
        assert!(mine < others, "replicas retry at different times");
    }
}
