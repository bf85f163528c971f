//! Spaces the attempts to keep a stream open.

use std::time::Duration;

use crate::backoff::{Backoff, BackoffPolicy};

/// Short at first, because messages wait for the stream.
const REOPENING: BackoffPolicy =
    BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// A stream that served for this long was accepted. A server that refuses streams, or fails because of them, ends them
/// sooner, although it may have opened them and sent a message.
const ACCEPTED_AFTER: Duration = Duration::from_secs(1);

/// Spaces the attempts to keep one stream open, so that clients do not rush a server that refuses them, fails or restarts.
#[derive(Clone, Copy, Debug)]
pub struct StreamBackoff(Backoff);

impl Default for StreamBackoff {
    fn default() -> Self {
        Self(Backoff::new(REOPENING))
    }
}

impl StreamBackoff {
    /// Returns the delay before the next attempt. The last stream served for `served_for`: zero if it could not be opened, or
    /// was of no use. Draw `jitter` as for [`BackoffPolicy::delay`].
    pub fn delay(&mut self, served_for: Duration, jitter: f64) -> Duration {
        if served_for >= ACCEPTED_AFTER {
            self.0.on_success();
        }
        self.0.on_failure(jitter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_until_a_stream_is_accepted() {
        let (mut backoff, soon) = (StreamBackoff::default(), ACCEPTED_AFTER - Duration::from_millis(1));
        let refused: Vec<_> = (0..7).map(|_| backoff.delay(soon, 0.0).as_millis()).collect();
        assert_eq!(refused, [50, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.delay(ACCEPTED_AFTER, 0.0), REOPENING.base);
        assert_eq!(backoff.delay(Duration::ZERO, 0.0), 2 * REOPENING.base);
        let [mine, others] = [0.9, 0.1].map(|jitter| StreamBackoff::default().delay(Duration::ZERO, jitter));
        assert!(mine < others, "clients retry at different times");
    }
}
