//! Decides which Events are written when. Pure: the time is a parameter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::ObjectEvent;

/// For how long a written Event is remembered after its cause is gone, so that a cause that comes and goes is told
/// once.
const REPEAT_AFTER: Duration = Duration::from_secs(600);

/// When an Event whose cause lasts is written again. API servers forget Events, most of them after an hour.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(1_800);

/// When an Event that could not be written is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// Number of Events that can be written at once, and how long it takes until one more can be.
const BURST: u32 = 25;
const REFILL: Duration = Duration::from_secs(6);

/// Lets each wanted Event be tried until it is written, and written again while it is wanted, and all together at a
/// limited rate.
#[derive(Debug)]
pub(super) struct EventPlan {
    wanted: BTreeSet<ObjectEvent>,
    attempts: BTreeMap<ObjectEvent, Attempt>,
    allowance: u32,
    refilled: Instant,
}

/// The last attempt to write an Event.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    at: Instant,
    is_written: bool,
}

impl EventPlan {
    pub(super) fn new(now: Instant) -> Self {
        Self { wanted: BTreeSet::new(), attempts: BTreeMap::new(), allowance: BURST, refilled: now }
    }

    /// Replaces the Events that are to be written.
    pub(super) fn want(&mut self, now: Instant, wanted: BTreeSet<ObjectEvent>) {
        self.wanted = wanted;
        self.attempts.retain(|event, attempt| {
            let is_recent = attempt.is_written && now.duration_since(attempt.at) < REPEAT_AFTER;
            is_recent || self.wanted.contains(event)
        });
    }

    /// Returns an Event to write now. It counts as tried and not written.
    pub(super) fn next(&mut self, now: Instant) -> Option<ObjectEvent> {
        self.refill(now);
        if self.allowance == 0 {
            return None;
        }
        let (due, event) = self.first_due()?;
        if due.is_some_and(|due| due > now) {
            return None;
        }
        let event = event.clone();
        self.allowance -= 1;
        self.attempts.insert(event.clone(), Attempt { at: now, is_written: false });
        Some(event)
    }

    /// Takes note that an Event was written.
    pub(super) fn record_written(&mut self, now: Instant, event: &ObjectEvent) {
        self.attempts.insert(event.clone(), Attempt { at: now, is_written: true });
    }

    /// Returns when [`next`](Self::next) can return an Event that it does not return now; `None` if there is none.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let (due, _) = self.first_due()?;
        let allowed = if self.allowance > 0 { self.refilled } else { self.refilled + REFILL };
        Some(due.map_or(allowed, |due| due.max(allowed)))
    }

    /// Returns the Event whose turn it is, and when: one that was never tried, at once, or the one that was tried
    /// longest ago.
    fn first_due(&self) -> Option<(Option<Instant>, &ObjectEvent)> {
        let due = self.wanted.iter().map(|event| match self.attempts.get(event) {
            None => (None, event),
            Some(Attempt { at, is_written: true }) => (Some(*at + TELL_AGAIN_AFTER), event),
            Some(Attempt { at, is_written: false }) => (Some(*at + RETRY_AFTER), event),
        });
        due.min()
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
    use crate::objects::{ObjectKey, ObjectRef};

    fn event(name: &str, message: &str) -> ObjectEvent {
        let key = ObjectKey { namespace: "prod".into(), name: name.into() };
        let object = ObjectRef { api_version: "v1", kind: "Pod", key, uid: "".into() };
        ObjectEvent { object, reason: "Invalid", message: message.to_owned() }
    }

    /// The plan, as if every Event were written, or none.
    fn offered(plan: &mut EventPlan, now: Instant, is_written: bool) -> Vec<String> {
        let mut all = Vec::new();
        while let Some(event) = plan.next(now) {
            if is_written {
                plan.record_written(now, &event);
            }
            all.push(format!("{} {}", event.object.key.name, event.message));
        }
        all
    }

    #[test]
    fn each_message_is_told_once_and_again_while_its_cause_lasts() {
        let start = Instant::now();
        let mut plan = EventPlan::new(start);
        let mut tell = |at, messages: &[&str]| {
            plan.want(at, messages.iter().map(|message| event("a", message)).collect());
            offered(&mut plan, at, true)
        };
        assert_eq!(vec!["a one"], tell(start, &["one"]));
        assert_eq!(vec!["a two"], tell(start, &["one", "two"]));
        assert!(tell(start + REPEAT_AFTER * 2, &["one", "two"]).is_empty());
        assert_eq!(vec!["a one", "a two"], tell(start + TELL_AGAIN_AFTER, &["one", "two"]));
        // A cause that returns is told again, but not soon.
        let start = start + TELL_AGAIN_AFTER * 2;
        assert_eq!(vec!["a three"], tell(start, &["three"]));
        assert!(tell(start + REPEAT_AFTER / 3, &[]).is_empty());
        assert!(tell(start + REPEAT_AFTER / 2, &["three"]).is_empty());
        assert!(tell(start + REPEAT_AFTER, &[]).is_empty());
        assert_eq!(vec!["a three"], tell(start + REPEAT_AFTER, &["three"]));
    }

    #[test]
    fn what_is_not_written_is_tried_again_while_it_is_wanted() {
        let start = Instant::now();
        let mut plan = EventPlan::new(start);
        plan.want(start, [event("a", "x"), event("b", "x")].into());
        assert_eq!(vec!["a x", "b x"], offered(&mut plan, start, false));
        assert_eq!(Some(start + RETRY_AFTER), plan.next_due());
        assert!(offered(&mut plan, start + RETRY_AFTER / 2, false).is_empty());
        plan.want(start, [event("b", "x"), event("c", "x")].into());
        assert_eq!(vec!["c x", "b x"], offered(&mut plan, start + RETRY_AFTER, true));
        assert_eq!(Some(start + RETRY_AFTER + TELL_AGAIN_AFTER), plan.next_due());
    }

    #[test]
    fn the_rate_is_limited_and_nothing_is_lost() {
        let start = Instant::now();
        let mut plan = EventPlan::new(start);
        let all: BTreeSet<_> = (0..100).map(|n| event(&n.to_string(), "x")).collect();
        plan.want(start, all.clone());
        let mut told: BTreeSet<String> = offered(&mut plan, start, true).into_iter().collect();
        assert_eq!(BURST as usize, told.len());
        let mut now = start;
        while let Some(due) = plan.next_due().filter(|due| *due < start + TELL_AGAIN_AFTER) {
            assert!(due > now && due <= now + REFILL);
            now = due;
            let more = offered(&mut plan, now, true);
            assert_eq!(1, more.len());
            told.extend(more);
        }
        assert_eq!(all.len(), told.len());
        assert_eq!(start + REFILL * (100 - BURST), now);
    }
}
