//! Bookings whose request end does not show on their own ext-proc stream; a gateway's access log reports it,
//! to any replica.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use signalbox_types::RequestEnd;
use tokio::task::AbortHandle;

use crate::bookings::booked_request::BookedRequest;

/// While request ends are reported, a detached booking expires after this multiple of its expected duration:
/// many responses take longer than expected, and few reports get lost.
const EXPIRY_FACTOR: u32 = 8;

/// Minimum time to expiry while request ends are reported.
const MIN_EXPIRY: Duration = Duration::from_secs(20);

/// Bookings whose end another process may report, by booking number.
#[derive(Debug)]
pub(crate) struct DetachedBookings {
    slots: DashMap<u64, Slot>,
    next: AtomicU64,
    /// When a request end was last reported; 0: never.
    last_end_at_ms: AtomicU64,
    /// When a booking last expired without a report; 0: never.
    last_expiry_at_ms: AtomicU64,
}

#[derive(Debug)]
enum Slot {
    /// The request's own stream is open.
    Streaming,
    /// The request's own stream is open, and its end was already reported.
    EndedEarly(RequestEnd),
    /// The stream has ended. Holds the booking and the task that expires it.
    Detached(BookedRequest, AbortHandle),
}

/// The booking that a reported request end belongs to.
pub(crate) enum EndMatch {
    /// No booking: it is already settled.
    Settled,
    /// The request's own stream is still open and settles the booking.
    Streaming,
    /// A detached booking, which the caller settles.
    Detached(BookedRequest),
}

impl Default for DetachedBookings {
    /// Numbers start at a random value, so that they do not collide with those of an earlier process with the
    /// same name.
    fn default() -> Self {
        let next = AtomicU64::new(rand::random());
        let (last_end_at_ms, last_expiry_at_ms) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { slots: DashMap::new(), next, last_end_at_ms, last_expiry_at_ms }
    }
}

impl DetachedBookings {
    /// Returns a number for a booking whose end may be reported. The caller releases it with [`Self::remove`]
    /// or [`Self::detach`].
    pub(crate) fn register(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.slots.insert(number, Slot::Streaming);
        number
    }

    /// Removes a settled booking.
    pub(crate) fn remove(&self, number: u64) {
        self.slots.remove(&number);
    }

    /// Returns the number of detached bookings.
    pub(crate) fn count(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(**slot, Slot::Detached(..))).count()
    }

    /// Returns whether any request end was ever reported.
    pub(crate) fn has_seen_ends(&self) -> bool {
        self.last_end_at_ms.load(Ordering::Relaxed) > 0
    }

    /// Returns whether request ends are being reported: true until a booking expires without a report, and
    /// again after the next report.
    fn are_ends_reported(&self) -> bool {
        self.last_end_at_ms.load(Ordering::Relaxed) >= self.last_expiry_at_ms.load(Ordering::Relaxed)
    }

    /// Returns when `booked` expires if its end is not reported.
    pub(crate) fn expiry(&self, booked: &BookedRequest) -> Instant {
        let patience = if self.are_ends_reported() {
            (booked.expected_duration * EXPIRY_FACTOR).max(MIN_EXPIRY)
        } else {
            booked.expected_duration
        };
        booked.booked_at + patience
    }

    /// Removes a booking whose end was not reported in time.
    pub(crate) fn expire(&self, number: u64, now_ms: u64) {
        self.last_expiry_at_ms.store(now_ms, Ordering::Relaxed);
        self.remove(number);
    }

    /// Keeps the booking and starts its expiry task with `start_timer`. If the end was already reported,
    /// returns both instead.
    pub(crate) fn detach(
        &self,
        number: u64,
        booked: BookedRequest,
        start_timer: impl FnOnce() -> AbortHandle,
    ) -> Option<(BookedRequest, RequestEnd)> {
        let Entry::Occupied(mut slot) = self.slots.entry(number) else { return None };
        if !matches!(slot.get(), Slot::EndedEarly(_)) {
            slot.insert(Slot::Detached(booked, start_timer()));
            return None;
        }
        match slot.remove() {
            Slot::EndedEarly(end) => Some((booked, end)),
            Slot::Streaming | Slot::Detached(..) => None,
        }
    }

    /// Records a reported request end and returns the booking it belongs to.
    pub(crate) fn record_end(&self, now_ms: u64, end: &RequestEnd) -> EndMatch {
        let Entry::Occupied(mut slot) = self.slots.entry(end.booking.number) else {
            return EndMatch::Settled;
        };
        self.last_end_at_ms.store(now_ms.max(1), Ordering::Relaxed);
        if !matches!(slot.get(), Slot::Detached(..)) {
            slot.insert(Slot::EndedEarly(end.clone()));
            return EndMatch::Streaming;
        }
        match slot.remove() {
            Slot::Detached(booked, timer) => {
                timer.abort();
                EndMatch::Detached(booked)
            }
            Slot::Streaming | Slot::EndedEarly(_) => EndMatch::Streaming,
        }
    }

    /// Counts the prompt of a detached booking as processed.
    pub(crate) fn prefilled(&self, number: u64, now_ms: u64) {
        if let Some(mut slot) = self.slots.get_mut(&number)
            && let Slot::Detached(booked, _) = &mut *slot
        {
            booked.booking.record_first_output(now_ms);
        }
    }
}
