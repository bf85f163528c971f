//! Since when a process has run without a pause.

/// How late a tick of a process is that was paused, in milliseconds.
const PAUSE_MS: u64 = 100;

/// Since when the process has run without a pause.
#[derive(Clone, Copy, Debug, Default)]
pub struct Awake {
    since_ms: u64,
    last_ms: u64,
}

impl Awake {
    /// Records that ticks begin again. While nothing waits, there are none, and that is no pause.
    pub fn begin(&mut self, now_ms: u64) {
        self.last_ms = now_ms;
    }

    /// Returns the part of the owner's silence in which the process could have heard it: after a pause, its news are still to
    /// be read.
    pub fn owner_silence_ms(&mut self, now_ms: u64, silence_ms: u64) -> u64 {
        if now_ms.saturating_sub(self.last_ms) >= PAUSE_MS {
            self.since_ms = now_ms;
        }
        self.last_ms = now_ms;
        silence_ms.min(now_ms.saturating_sub(self.since_ms))
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

    #[test]
    fn time_in_which_nothing_waits_is_no_pause() {
        let mut awake = Awake::default();
        assert_eq!(5, awake.owner_silence_ms(5, 5));
        awake.begin(4_000);
        assert_eq!(4_000, awake.owner_silence_ms(4_000, 4_000));
    }
}
