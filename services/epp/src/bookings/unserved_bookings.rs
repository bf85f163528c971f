//! Keeps the places of requests that were answered with an error, so that an endpoint does not attract requests
//! by failing them quickly.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use signalbox_state::{Booking, ServedDurations, UnservedBooking};
use tokio::runtime::Handle;

/// Maximum number of unserved bookings. Further ones are dropped at once. It bounds the memory while clients send
/// many invalid requests.
const CAPACITY: usize = 16_384;

/// The unserved bookings of a replica, and how long they count.
#[derive(Debug, Default)]
pub(crate) struct UnservedBookings {
    pub(crate) durations: ServedDurations,
    count: Arc<AtomicUsize>,
}

/// When a request was booked and how long it was expected to take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expectation {
    pub(crate) booked_at: Instant,
    /// Expected time from `booked_at` to the end of prefill.
    pub(crate) prefill: Duration,
    /// Expected time from `booked_at` to the end of the response.
    pub(crate) duration: Duration,
}

impl UnservedBookings {
    /// Keeps the place of a request that was answered with an error for as long as a served one would take it.
    pub(crate) fn keep(&self, booking: Booking, expected: Expectation) {
        let Ok(runtime) = Handle::try_current() else { return };
        let unserved_us = self.durations.unserved_us(expected.duration.as_micros() as u64);
        let (prefilled_at, ends_at) =
            (expected.booked_at + expected.prefill, expected.booked_at + Duration::from_micros(unserved_us));
        let has_room = || self.count.load(Ordering::Relaxed) < CAPACITY;
        if ends_at <= Instant::now() || !has_room() {
            return;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut place = Place { booking: booking.into_unserved(), count: Arc::clone(&self.count) };
        runtime.spawn(async move {
            tokio::time::sleep_until(prefilled_at.min(ends_at).into()).await;
            place.booking.end_prefill();
            tokio::time::sleep_until(ends_at.into()).await;
        });
    }
}

/// An unserved booking that counts towards the capacity.
struct Place {
    booking: UnservedBooking,
    count: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use signalbox_state::Bookings;
    use signalbox_types::{EndpointKey, Load};

    use super::*;

    async fn until(is_reached: impl Fn() -> bool) {
        while !is_reached() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_failed_request_counts_in_decisions_until_a_served_one_would_have_ended() {
        let (bookings, unserved) = (Bookings::new(Arc::new(|| {})), UnservedBookings::default());
        let gauge = bookings.gauge(EndpointKey(1));
        let (prefill, duration) = (Duration::from_millis(2), Duration::from_millis(4));
        let expected = Expectation { booked_at: Instant::now(), prefill, duration };
        unserved.keep(bookings.reserve(EndpointKey(1), 100), expected);
        assert_eq!(0, gauge.load().requests);
        assert_eq!(Load { requests: 1, prefills: 1, prefill_tokens: 100 }, gauge.unserved());
        until(|| gauge.unserved().prefills == 0).await;
        assert!(expected.booked_at.elapsed() >= prefill);
        until(|| gauge.unserved().requests == 0).await;
        assert!(expected.booked_at.elapsed() >= duration);
        until(|| unserved.count.load(Ordering::Relaxed) == 0).await;
    }

    #[tokio::test]
    async fn the_number_of_kept_places_is_bounded() {
        let (bookings, unserved) = (Bookings::new(Arc::new(|| {})), UnservedBookings::default());
        let (prefill, duration) = (Duration::ZERO, Duration::from_secs(3_600));
        for _ in 0..CAPACITY + 10 {
            let expected = Expectation { booked_at: Instant::now(), prefill, duration };
            unserved.keep(bookings.reserve(EndpointKey(1), 100), expected);
        }
        assert_eq!(CAPACITY, bookings.gauge(EndpointKey(1)).unserved().requests as usize);
        assert_eq!(0, bookings.gauge(EndpointKey(1)).load().requests);
    }
}
