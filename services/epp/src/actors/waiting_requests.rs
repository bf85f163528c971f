//! Looks after the requests that wait: drops those that have waited for too long, and grants while the owner is silent.

use std::sync::Arc;
use std::time::Duration;

use signalbox_telemetry::catch_panic;

use crate::deciding::picker::Picker;

/// How often, while any requests wait.
const TICK: Duration = Duration::from_millis(5);

/// How late a tick of a process is that was paused, in milliseconds.
const PAUSE_MS: u64 = 100;

/// Looks after the requests that wait, for ever. Costs nothing while none does.
pub(super) async fn tend_waiting_requests(picker: Arc<Picker>) {
    let mut awake = Awake::default();
    loop {
        awake.last_ms = picker.now_ms();
        // Requests may wait already if a predecessor has failed.
        while catch_panic(|| tick(&picker, &mut awake)).unwrap_or_else(|panic| {
            picker.record_panic(&panic, None);
            true
        }) {
            tokio::time::sleep(TICK).await;
        }
        picker.gate.begun.notified().await;
    }
}

/// Returns whether any requests wait.
fn tick(picker: &Picker, awake: &mut Awake) -> bool {
    let now_ms = picker.now_ms();
    let silence_ms = awake.owner_silence_ms(now_ms, picker.owner_silence_ms());
    picker.gate.tick(now_ms, silence_ms, || picker.own_saturation())
}

/// Since when the process has run without a pause.
#[derive(Debug, Default)]
struct Awake {
    since_ms: u64,
    last_ms: u64,
}

impl Awake {
    /// Returns the part of the owner's silence in which the process could have heard it: after a pause, its news are still to
    /// be read.
    fn owner_silence_ms(&mut self, now_ms: u64, silence_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.last_ms) >= PAUSE_MS {
            self.since_ms = now_ms;
        }
        self.last_ms = now_ms;
        silence_ms.min(now_ms - self.since_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_is_not_silent_while_the_process_was_paused() {
        let mut awake = Awake::default();
        assert_eq!(5, awake.owner_silence_ms(5, 5));
        let after_a_pause = [4_000, 4_005, 4_010].map(|now_ms| awake.owner_silence_ms(now_ms, now_ms));
        assert_eq!([0, 5, 10], after_a_pause);
    }
}
