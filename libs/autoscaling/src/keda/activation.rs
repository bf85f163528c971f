//! When a stream tells KEDA that a workload should have replicas.

use std::time::Duration;

use signalbox_signal::Signal;

/// How often it is said again while requests wait for the first pod: KEDA drops what it hears before it has set up the
/// ScaledObject, and what it fails to act on.
const REPEAT: Duration = Duration::from_secs(5);

/// What one stream has said. At the start it says what is true; after that, only that requests wait and no pod is there:
/// KEDA ignores `false`, and takes `true` as a reason to write to the ScaledObject.
#[derive(Debug, Default)]
pub(super) struct Activation {
    has_begun: bool,
    /// When to say again that requests wait, in time since the stream was opened; `None` if they do not.
    repeat_at: Option<Duration>,
}

impl Activation {
    /// Returns what to say `now`, in time since the stream was opened. `None` is a signal that may not be used: what was
    /// true before stays true.
    pub(super) fn step(&mut self, now: Duration, signal: Option<&Signal>) -> Option<bool> {
        let is_first = !self.has_begun && signal.is_some();
        self.has_begun |= is_first;
        let waits = signal.map_or(self.repeat_at.is_some(), |signal| signal.awaits_first_pod);
        let is_due = self.repeat_at.is_none_or(|at| at <= now);
        match (waits, is_due) {
            (true, true) => {
                self.repeat_at = Some(now + REPEAT);
                Some(true)
            }
            (true, false) => None,
            (false, _) => {
                self.repeat_at = None;
                signal.filter(|_| is_first).map(|signal| signal.is_active)
            }
        }
    }

    /// Returns when the next step is due even if the signal does not change.
    pub(super) fn repeat_at(&self) -> Option<Duration> {
        self.repeat_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn signal(is_active: bool, awaits_first_pod: bool) -> Signal {
        Signal { is_active, awaits_first_pod, ..Signal::default() }
    }

    #[test]
    fn a_stream_begins_with_what_is_true() {
        for (first, said) in [
            (signal(false, false), false),
            (signal(true, false), true),
            (signal(true, true), true),
            (signal(false, true), true),
        ] {
            let mut activation = Activation::default();
            assert_eq!(None, activation.step(NOW, None));
            assert_eq!(Some(said), activation.step(NOW, Some(&first)));
            assert_eq!(None, activation.step(NOW, Some(&first)));
        }
    }

    #[test]
    fn each_rising_edge_is_said_once() {
        let mut activation = Activation::default();
        assert_eq!(Some(false), activation.step(NOW, Some(&signal(false, false))));
        assert_eq!(None, activation.step(NOW, Some(&signal(true, false))));
        for _ in 0..2 {
            assert_eq!(Some(true), activation.step(NOW, Some(&signal(true, true))));
            assert_eq!(None, activation.step(NOW, Some(&signal(true, true))));
            assert_eq!(None, activation.step(NOW, Some(&signal(true, false))));
            assert_eq!(None, activation.repeat_at());
        }
    }

    #[test]
    fn it_is_said_again_while_requests_wait() {
        let (mut activation, waits) = (Activation::default(), signal(true, true));
        for count in 0..3 {
            let due = REPEAT * count;
            assert_eq!(Some(true), activation.step(due, Some(&waits)));
            assert_eq!(Some(due + REPEAT), activation.repeat_at());
            assert_eq!(None, activation.step(due + REPEAT / 2, Some(&waits)));
        }
        // Nothing is known for a while: they wait on.
        assert_eq!(Some(true), activation.step(REPEAT * 3, None));
        assert_eq!(None, activation.step(REPEAT * 4, Some(&signal(true, false))));
    }
}
