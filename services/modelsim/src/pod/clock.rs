//! The wall clock and the virtual clock of a pod.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Returns the wall-clock time as Unix time in seconds.
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Virtual time: microseconds since the origin, multiplied by the speed. The clock can be paused.
pub(super) struct VirtualClock {
    origin: Instant,
    speed: f64,
    /// Virtual time at which the clock was paused; `None` while it runs.
    paused_at_us: Option<u64>,
}

impl VirtualClock {
    /// Starts a clock that runs `speed` times as fast as real time.
    pub(super) fn start(speed: f64) -> Self {
        Self { origin: Instant::now(), speed, paused_at_us: None }
    }

    /// Returns the virtual time in microseconds.
    pub(super) fn now_us(&self) -> u64 {
        let running = || (self.origin.elapsed().as_secs_f64() * 1e6 * self.speed) as u64;
        self.paused_at_us.unwrap_or_else(running)
    }

    /// Returns the instant at which the virtual time will be `at_us`; `None` while the clock is paused.
    pub(super) fn instant_at(&self, at_us: u64) -> Option<Instant> {
        let runs = self.paused_at_us.is_none();
        runs.then(|| self.origin + Duration::from_secs_f64(self.wall_seconds(at_us)))
    }

    /// Stops virtual time.
    pub(super) fn pause(&mut self) {
        self.paused_at_us = Some(self.now_us());
    }

    /// Continues from the virtual time at which the clock was paused.
    pub(super) fn resume(&mut self) {
        if let Some(at_us) = self.paused_at_us.take() {
            let since_origin = Duration::from_secs_f64(self.wall_seconds(at_us));
            // An `Instant` cannot lie before the machine's start. In that case the clock jumps ahead a
            // little.
            self.origin = Instant::now().checked_sub(since_origin).unwrap_or(self.origin);
        }
    }

    /// Converts a virtual duration to wall-clock seconds.
    pub(super) fn wall_seconds(&self, virtual_us: u64) -> f64 {
        virtual_us as f64 / 1e6 / self.speed
    }
}
