//! Decides which Events are written. Pure: the time is a parameter.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::ObjectEvent;
use crate::objects::ObjectRef;

/// How long an Event is not repeated.
const REPEAT_AFTER: Duration = Duration::from_secs(600);

/// Number of Events that can be written at once, and how long it takes until one more can be.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(6);

/// Number of Events that are remembered.
const MAX_REMEMBERED: usize = 1000;

/// Admits each Event once in ten minutes, unless its message changes, and all together at a limited rate.
#[derive(Debug)]
pub(super) struct EventLimiter {
    written: BTreeMap<(ObjectRef, &'static str), (Instant, String)>,
    allowance: u32,
    refilled: Instant,
}

impl EventLimiter {
    pub(super) fn new(now: Instant) -> Self {
        Self { written: BTreeMap::new(), allowance: BURST, refilled: now }
    }

    /// Returns whether `event` is to be written now.
    pub(super) fn admit(&mut self, now: Instant, event: &ObjectEvent) -> bool {
        self.refill(now);
        self.written.retain(|_, (at, _)| now.duration_since(*at) < REPEAT_AFTER);
        let key = (event.object.clone(), event.reason);
        let is_known = self.written.get(&key).is_some_and(|(_, message)| *message == event.message);
        let has_room = self.written.len() < MAX_REMEMBERED || self.written.contains_key(&key);
        if is_known || !has_room || self.allowance == 0 {
            return false;
        }
        self.allowance -= 1;
        self.written.insert(key, (now, event.message.clone()));
        true
    }

    fn refill(&mut self, now: Instant) {
        while self.allowance < BURST && now.duration_since(self.refilled) >= REFILL {
            self.allowance += 1;
            self.refilled += REFILL;
        }
        if self.allowance == BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::ObjectKey;

    fn event(name: &str, message: &str) -> ObjectEvent {
        let key = ObjectKey { namespace: "prod".into(), name: name.into() };
        let object = ObjectRef { api_version: "v1", kind: "Pod", key, uid: "".into() };
        ObjectEvent { object, reason: "Invalid", message: message.to_owned() }
    }

    #[test]
    fn an_event_is_repeated_after_ten_minutes_or_when_its_message_changes() {
        let start = Instant::now();
        let mut limiter = EventLimiter::new(start);
        assert!(limiter.admit(start, &event("a", "one")));
        assert!(!limiter.admit(start + REPEAT_AFTER / 2, &event("a", "one")));
        assert!(limiter.admit(start + REPEAT_AFTER / 2, &event("a", "two")));
        assert!(limiter.admit(start + REPEAT_AFTER / 2, &event("b", "one")));
        assert!(!limiter.admit(start + REPEAT_AFTER, &event("a", "two")));
        assert!(limiter.admit(start + REPEAT_AFTER * 3 / 2, &event("a", "two")));
    }

    #[test]
    fn the_rate_of_all_events_together_is_limited() {
        let start = Instant::now();
        let mut limiter = EventLimiter::new(start);
        let mut admitted = |from: usize, now| {
            (from..from + 100).filter(|n| limiter.admit(now, &event(&n.to_string(), "x"))).count()
        };
        assert_eq!(BURST as usize, admitted(0, start));
        assert_eq!(0, admitted(100, start + REFILL / 2));
        assert_eq!(2, admitted(200, start + REFILL * 2));
        assert_eq!(BURST as usize, admitted(300, start + REFILL * 200));
    }
}
