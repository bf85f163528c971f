//! Bookings whose request end does not show on their own ext-proc stream; a gateway's access log reports it,
//! to any replica.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use signalbox_types::RequestEnd;
use tokio::task::AbortHandle;

use super::booked_request::BookedRequest;
use super::booking_numbers::BookingNumbers;

/// While request ends are reported, a detached booking expires after this multiple of its expected duration:
/// many responses take longer than expected, and few reports get lost.
const EXPIRY_FACTOR: u32 = 8;

/// Minimum time to expiry while request ends are reported.
const MIN_EXPIRY: Duration = Duration::from_secs(20);

/// Maximum time to expiry. The expected duration is an estimate, and no estimate may hold a booking for longer.
const MAX_EXPIRY: Duration = Duration::from_secs(600);

/// Maximum number of detached bookings. When that many were detached after a booking, it is dropped. It bounds
/// the memory to some 50 MB if request ends get lost.
const CAPACITY: usize = 65_536;

/// Bookings whose end another process may report, by booking number.
#[derive(Debug)]
pub(crate) struct DetachedBookings {
    slots: DashMap<u64, Slot>,
    numbers: BookingNumbers,
    capacity: usize,
    /// The numbers of the latest bookings that were detached; each replaces the oldest. Allocated with the
    /// first one: most pools never detach any.
    latest: OnceLock<Box<[AtomicU64]>>,
    /// Number of bookings that are detached now.
    detached: AtomicUsize,
    /// Number of bookings that were ever detached.
    detachments: AtomicUsize,
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
    Detached(Box<BookedRequest>, AbortHandle),
}

/// What became of a booking that was to be detached.
#[derive(Debug)]
pub(crate) enum Detached {
    /// It is kept, or was settled before.
    Kept,
    /// It is kept, and this one, the oldest, was removed for it.
    InsteadOf(BookedRequest),
    /// Its end was already reported, so the caller settles it.
    EndedBefore(BookedRequest, RequestEnd),
}

/// The booking that a reported request end belongs to.
pub(crate) enum EndMatch {
    /// No booking: it is already settled.
    Settled,
    /// The request's own stream is still open and settles the booking.
    Streaming,
    /// A detached booking, which the caller settles.
    Detached(Box<BookedRequest>),
}

impl DetachedBookings {
    /// Returns no bookings. Their numbers will have `pool_tag` in their high bits.
    pub(crate) fn new(pool_tag: u16) -> Self {
        Self::with_capacity(pool_tag, CAPACITY)
    }

    fn with_capacity(pool_tag: u16, capacity: usize) -> Self {
        let (last_end_at_ms, last_expiry_at_ms) = Default::default();
        let (slots, detached, detachments, latest) = Default::default();
        let numbers = BookingNumbers::new(pool_tag);
        Self { slots, numbers, capacity, latest, detached, detachments, last_end_at_ms, last_expiry_at_ms }
    }

    /// Returns whether a booking with this number belongs to this pool, or to one with the same tag.
    pub(crate) fn may_contain(&self, number: u64) -> bool {
        self.numbers.may_contain(number)
    }

    /// Returns a number for a booking whose end may be reported. The caller releases it with [`Self::remove`]
    /// or [`Self::detach`].
    pub(crate) fn register(&self) -> u64 {
        let number = self.numbers.next();
        self.slots.insert(number, Slot::Streaming);
        number
    }

    /// Removes a settled booking.
    pub(crate) fn remove(&self, number: u64) {
        if let Some((_, Slot::Detached(..))) = self.slots.remove(&number) {
            self.detached.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of detached bookings.
    pub(crate) fn count(&self) -> usize {
        self.detached.load(Ordering::Relaxed)
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
        booked.booked_at + patience.min(MAX_EXPIRY)
    }

    /// Removes a booking whose end was not reported in time.
    pub(crate) fn expire(&self, number: u64, now_ms: u64) {
        self.last_expiry_at_ms.store(now_ms, Ordering::Relaxed);
        self.remove(number);
    }

    /// Keeps the booking and starts its expiry task with `start_timer`, unless its end was already reported.
    /// Removes the oldest detached booking if there are too many.
    pub(crate) fn detach(
        &self,
        number: u64,
        booked: BookedRequest,
        start_timer: impl FnOnce() -> AbortHandle,
    ) -> Detached {
        let Entry::Occupied(mut slot) = self.slots.entry(number) else { return Detached::Kept };
        if matches!(slot.get(), Slot::EndedEarly(_)) {
            return match slot.remove() {
                Slot::EndedEarly(end) => Detached::EndedBefore(booked, end),
                Slot::Streaming | Slot::Detached(..) => Detached::Kept,
            };
        }
        if !matches!(slot.get(), Slot::Detached(..)) {
            self.detached.fetch_add(1, Ordering::Relaxed);
        }
        slot.insert(Slot::Detached(Box::new(booked), start_timer()));
        // The oldest one may be in the same shard, which is locked until this slot is released.
        drop(slot);
        let latest = self.latest.get_or_init(|| (0..self.capacity).map(|_| AtomicU64::new(0)).collect());
        let place = self.detachments.fetch_add(1, Ordering::Relaxed) % self.capacity;
        let oldest = latest[place].swap(number, Ordering::Relaxed);
        match self.slots.remove_if(&oldest, |_, slot| matches!(slot, Slot::Detached(..))) {
            Some((_, Slot::Detached(booked, timer))) => {
                self.detached.fetch_sub(1, Ordering::Relaxed);
                timer.abort();
                Detached::InsteadOf(*booked)
            }
            _ => Detached::Kept,
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
                self.detached.fetch_sub(1, Ordering::Relaxed);
                timer.abort();
                EndMatch::Detached(booked)
            }
            Slot::Streaming | Slot::EndedEarly(_) => EndMatch::Streaming,
        }
    }

    /// Removes all detached bookings, without settling them.
    pub(crate) fn clear(&self) {
        self.slots.retain(|_, slot| match slot {
            Slot::Detached(_, timer) => {
                self.detached.fetch_sub(1, Ordering::Relaxed);
                timer.abort();
                false
            }
            Slot::Streaming | Slot::EndedEarly(_) => true,
        });
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_intake::Delivery;
    use signalbox_state::{Bookings, UsageReport};
    use signalbox_types::{EndpointKey, Incarnation, Load, ModelKey};

    use super::*;
    use crate::bookings::booked_prompt::BookedPrompt;
    use crate::bookings::booked_request::SeenResponse;

    fn booked(bookings: &Bookings) -> BookedRequest {
        BookedRequest {
            booking: bookings.reserve(EndpointKey(1), 100),
            endpoint: EndpointKey(1),
            is_sole_prefill: false,
            usage: UsageReport::new(EndpointKey(1), Incarnation::default(), ModelKey::default()),
            prompt: BookedPrompt::default(),
            delivery: Delivery::Streamed,
            booked_at: Instant::now(),
            expected_prefill: Duration::ZERO,
            expected_duration: Duration::from_secs(1),
            response: SeenResponse::default(),
        }
    }

    #[tokio::test]
    async fn oldest_detached_booking_is_dropped_for_the_newest() {
        let (detached, bookings) = (DetachedBookings::with_capacity(7, 3), Bookings::new(Arc::new(|| {})));
        let requests = || bookings.gauge(EndpointKey(1)).load().requests;
        let timer = || tokio::spawn(std::future::pending::<()>()).abort_handle();
        let numbers: Vec<u64> = (0..5).map(|_| detached.register()).collect();
        for number in &numbers[..3] {
            assert!(matches!(detached.detach(*number, booked(&bookings), timer), Detached::Kept));
        }
        detached.remove(numbers[1]);
        assert_eq!(2, requests());
        assert!(matches!(detached.detach(numbers[3], booked(&bookings), timer), Detached::InsteadOf(_)));
        // The second one was settled, so nothing is dropped for the fifth.
        assert!(matches!(detached.detach(numbers[4], booked(&bookings), timer), Detached::Kept));
        assert_eq!((3, 3), (detached.count(), requests()));
        let left: Vec<bool> = numbers.iter().map(|number| detached.slots.contains_key(number)).collect();
        assert_eq!(left, [false, false, true, true, true]);
        assert!(numbers.iter().all(|number| detached.may_contain(*number)));
        assert!(!DetachedBookings::new(8).may_contain(numbers[0]));
        detached.clear();
        assert_eq!(0, detached.count());
        assert_eq!(Load::ZERO, bookings.gauge(EndpointKey(1)).load());
    }

    #[test]
    fn no_expected_duration_keeps_a_booking_for_more_than_ten_minutes() {
        let (detached, bookings) = (DetachedBookings::new(0), Bookings::new(Arc::new(|| {})));
        for (expected_s, expiry_s) in [(1, 20), (10, 80), (100, 600), (u64::MAX / 16, 600)] {
            let expected_duration = Duration::from_secs(expected_s);
            let booked = BookedRequest { expected_duration, ..booked(&bookings) };
            assert_eq!(Duration::from_secs(expiry_s), detached.expiry(&booked) - booked.booked_at);
        }
    }
}
