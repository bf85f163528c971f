//! Counts the requests that this process has sent to each endpoint and that have not ended. The counters are
//! atomic: decisions and the feedback stream read them concurrently.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;
use signalbox_types::{EndpointKey, Load};

use super::unserved_booking::{UnservedBooking, UnservedGauge};

/// The sum of this process's bookings at one endpoint.
#[derive(Debug, Default)]
pub struct InFlightGauge {
    requests: AtomicU32,
    prefills: AtomicU32,
    prefill_tokens: AtomicU64,
    prefill_began_ms: AtomicU64,
    changed: AtomicBool,
    unserved: Arc<UnservedGauge>,
}

impl InFlightGauge {
    /// Returns when the endpoint was last known to start processing a prompt of this process, in milliseconds
    /// of its clock.
    pub fn prefill_began_ms(&self) -> u64 {
        self.prefill_began_ms.load(Ordering::Relaxed)
    }

    /// Returns the load of requests that were answered with an error and would otherwise still be in flight.
    pub fn unserved(&self) -> Load {
        self.unserved.load()
    }

    /// Returns the load in flight.
    pub fn load(&self) -> Load {
        Load {
            requests: self.requests.load(Ordering::Relaxed),
            prefills: self.prefills.load(Ordering::Relaxed),
            prefill_tokens: self.prefill_tokens.load(Ordering::Relaxed),
        }
    }
}

/// Called after a gauge has changed, from the task that changed it. Must not block.
pub type ChangeNotifier = Arc<dyn Fn() + Send + Sync>;

/// This process's bookings per endpoint.
pub struct Bookings {
    gauges: DashMap<EndpointKey, Arc<InFlightGauge>>,
    notify: ChangeNotifier,
}

impl fmt::Debug for Bookings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bookings").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

impl Bookings {
    /// Creates empty bookings; `notify` is called after each change.
    pub fn new(notify: ChangeNotifier) -> Self {
        Self { gauges: DashMap::new(), notify }
    }

    /// Returns the gauge of an endpoint.
    pub fn gauge(&self, endpoint: EndpointKey) -> Arc<InFlightGauge> {
        Arc::clone(&self.gauges.entry(endpoint).or_default())
    }

    /// Books a request with `prefill_tokens` uncached prompt tokens at `endpoint`, until the booking is
    /// dropped.
    pub fn reserve(&self, endpoint: EndpointKey, prefill_tokens: u64) -> Booking {
        let booking = self.reserve_unannounced(endpoint, prefill_tokens);
        self.announce();
        booking
    }

    /// Does the same as [`Self::reserve`] without calling the notifier, so that the caller can queue what the owner
    /// should receive together with the booking, and then call [`Self::announce`].
    pub fn reserve_unannounced(&self, endpoint: EndpointKey, prefill_tokens: u64) -> Booking {
        let gauge = self.gauge(endpoint);
        gauge.requests.fetch_add(1, Ordering::Relaxed);
        gauge.prefills.fetch_add(1, Ordering::Relaxed);
        gauge.prefill_tokens.fetch_add(prefill_tokens, Ordering::Relaxed);
        let booking = Booking { gauge, prefill: Some(prefill_tokens), notify: Arc::clone(&self.notify) };
        booking.gauge.changed.store(true, Ordering::Release);
        booking
    }

    /// Calls the notifier.
    pub fn announce(&self) {
        (self.notify)();
    }

    /// Moves a booking to the endpoint that actually serves the request.
    pub fn transfer(&self, booking: &mut Booking, endpoint: EndpointKey) {
        let mut there = self.reserve(endpoint, booking.prefill.unwrap_or(0));
        if booking.prefill.is_none() {
            there.release_prefill();
        }
        *booking = there;
    }

    /// Returns the gauges that changed since the last call, with their current values.
    pub fn take_changed(&self) -> Vec<(EndpointKey, Load)> {
        let changed = self.gauges.iter().filter(|gauge| gauge.changed.swap(false, Ordering::AcqRel));
        changed.map(|gauge| (*gauge.key(), gauge.load())).collect()
    }

    /// Returns all gauges that are not zero.
    pub fn loads(&self) -> Vec<(EndpointKey, Load)> {
        let all = self.gauges.iter().map(|gauge| (*gauge.key(), gauge.load()));
        all.filter(|(_, load)| *load != Load::ZERO).collect()
    }

    /// Removes the gauges of endpoints that are not present and have nothing in flight here.
    pub fn retain(&self, is_present: impl Fn(EndpointKey) -> bool) {
        self.gauges.retain(|endpoint, gauge| is_present(*endpoint) || gauge.load() != Load::ZERO);
    }
}

/// One request in flight at one endpoint. Dropping it ends the booking, regardless of how the request ended.
#[must_use = "dropping a booking ends it"]
pub struct Booking {
    gauge: Arc<InFlightGauge>,
    /// The uncached prompt tokens; `None` after the first chunk.
    prefill: Option<u64>,
    notify: ChangeNotifier,
}

impl fmt::Debug for Booking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booking").field("prefill", &self.prefill).finish_non_exhaustive()
    }
}

impl Booking {
    /// Records that the endpoint started to process this prompt at `now_ms`, because it had no other.
    pub fn record_prefill_start(&self, now_ms: u64) {
        self.gauge.prefill_began_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Records that the first chunk of the response arrived at `now_ms`: the prompt is processed, and the
    /// endpoint starts with the next one.
    pub fn record_first_output(&mut self, now_ms: u64) {
        if self.release_prefill() {
            self.gauge.prefill_began_ms.store(now_ms, Ordering::Relaxed);
            self.notify_change();
        }
    }

    /// Ends the booking of a request that was answered with an error, and keeps its place in decisions.
    pub fn into_unserved(self) -> UnservedBooking {
        UnservedBooking::new(Arc::clone(&self.gauge.unserved), self.prefill)
    }

    fn release_prefill(&mut self) -> bool {
        let Some(tokens) = self.prefill.take() else { return false };
        self.gauge.prefills.fetch_sub(1, Ordering::Relaxed);
        self.gauge.prefill_tokens.fetch_sub(tokens, Ordering::Relaxed);
        true
    }

    fn notify_change(&self) {
        self.gauge.changed.store(true, Ordering::Release);
        (self.notify)();
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.release_prefill();
        self.gauge.requests.fetch_sub(1, Ordering::Relaxed);
        self.notify_change();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookings() -> Bookings {
        Bookings::new(Arc::new(|| {}))
    }

    #[test]
    fn booking_counts_until_dropped_and_its_prefill_until_the_first_chunk() {
        let (bookings, endpoint) = (bookings(), EndpointKey(1));
        let mut booking = bookings.reserve(endpoint, 100);
        assert_eq!(Load { requests: 1, prefills: 1, prefill_tokens: 100 }, bookings.gauge(endpoint).load());
        booking.record_first_output(5);
        assert_eq!(5, bookings.gauge(endpoint).prefill_began_ms());
        assert_eq!(Load { requests: 1, prefills: 0, prefill_tokens: 0 }, bookings.gauge(endpoint).load());
        drop(booking);
        assert_eq!(Load::ZERO, bookings.gauge(endpoint).load());
        assert!(bookings.loads().is_empty());
    }

    #[test]
    fn transferred_booking_counts_at_one_endpoint() {
        let (bookings, here, there) = (bookings(), EndpointKey(1), EndpointKey(2));
        let mut booking = bookings.reserve(here, 100);
        bookings.transfer(&mut booking, there);
        assert_eq!(Load::ZERO, bookings.gauge(here).load());
        assert_eq!(Load { requests: 1, prefills: 1, prefill_tokens: 100 }, bookings.gauge(there).load());
        booking.record_first_output(5);
        bookings.transfer(&mut booking, here);
        assert_eq!(Load { requests: 1, prefills: 0, prefill_tokens: 0 }, bookings.gauge(here).load());
        drop(booking);
        assert!(bookings.loads().is_empty());
    }

    #[test]
    fn change_is_returned_once() {
        let bookings = bookings();
        let booking = bookings.reserve(EndpointKey(1), 8);
        assert_eq!(
            vec![(EndpointKey(1), Load { requests: 1, prefills: 1, prefill_tokens: 8 })],
            bookings.take_changed()
        );
        assert!(bookings.take_changed().is_empty());
        drop(booking);
        assert_eq!(vec![(EndpointKey(1), Load::ZERO)], bookings.take_changed());
    }

    #[test]
    fn unserved_booking_is_no_load_and_counts_apart_until_it_is_dropped() {
        let bookings = bookings();
        let gauge = bookings.gauge(EndpointKey(1));
        let mut unserved = bookings.reserve(EndpointKey(1), 100).into_unserved();
        assert_eq!(Load::ZERO, gauge.load());
        assert_eq!(Load { requests: 1, prefills: 1, prefill_tokens: 100 }, gauge.unserved());
        unserved.end_prefill();
        assert_eq!(Load { requests: 1, prefills: 0, prefill_tokens: 0 }, gauge.unserved());
        drop(unserved);
        assert_eq!(Load::ZERO, gauge.unserved());
    }
}
