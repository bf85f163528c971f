//! What this process has sent to each endpoint and not seen end: counted in atomics, read by decisions and by the uplink.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use dashmap::DashMap;
use signalbox_types::{EndpointKey, Load};

/// This process's work in flight at one endpoint.
#[derive(Debug, Default)]
pub struct InFlightGauge {
    requests: AtomicU32,
    prefills: AtomicU32,
    prefill_tokens: AtomicU64,
    turned_ms: AtomicU64,
    changed: AtomicBool,
}

impl InFlightGauge {
    /// When the endpoint was last seen to begin with a prompt of this process, in milliseconds of its clock.
    pub fn turned_ms(&self) -> u64 {
        self.turned_ms.load(Ordering::Relaxed)
    }

    /// What is in flight now.
    pub fn load(&self) -> Load {
        Load {
            requests: self.requests.load(Ordering::Relaxed),
            prefills: self.prefills.load(Ordering::Relaxed),
            prefill_tokens: self.prefill_tokens.load(Ordering::Relaxed),
        }
    }
}

/// Called when a gauge has changed, from whatever task changed it; must not block.
pub type ChangeNotifier = Arc<dyn Fn() + Send + Sync>;

/// This process's work in flight, per endpoint.
pub struct Bookings {
    gauges: DashMap<EndpointKey, Arc<InFlightGauge>>,
    wake: ChangeNotifier,
}

impl fmt::Debug for Bookings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bookings").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

impl Bookings {
    /// Nothing in flight; `wake` is called after each change.
    pub fn new(wake: ChangeNotifier) -> Self {
        Self { gauges: DashMap::new(), wake }
    }

    /// The gauge of an endpoint.
    pub fn gauge(&self, endpoint: EndpointKey) -> Arc<InFlightGauge> {
        Arc::clone(&self.gauges.entry(endpoint).or_default())
    }

    /// Books a request with `prefill_tokens` uncached prompt tokens at `endpoint`, until the booking is dropped.
    pub fn reserve(&self, endpoint: EndpointKey, prefill_tokens: u64) -> Booking {
        let gauge = self.gauge(endpoint);
        gauge.requests.fetch_add(1, Ordering::Relaxed);
        gauge.prefills.fetch_add(1, Ordering::Relaxed);
        gauge.prefill_tokens.fetch_add(prefill_tokens, Ordering::Relaxed);
        let booking = Booking { gauge, prefill: Some(prefill_tokens), wake: Arc::clone(&self.wake) };
        booking.announce();
        booking
    }

    /// Moves a request in flight to another endpoint: that is where it turned out to be.
    pub fn transfer(&self, booking: &mut Booking, endpoint: EndpointKey) {
        let mut there = self.reserve(endpoint, booking.prefill.unwrap_or(0));
        if booking.prefill.is_none() {
            there.release_prefill();
        }
        *booking = there;
    }

    /// The gauges that changed since the last call, with their present values.
    pub fn take_changed(&self) -> Vec<(EndpointKey, Load)> {
        let changed = self.gauges.iter().filter(|gauge| gauge.changed.swap(false, Ordering::AcqRel));
        changed.map(|gauge| (*gauge.key(), gauge.load())).collect()
    }

    /// All gauges that are not zero.
    pub fn whole(&self) -> Vec<(EndpointKey, Load)> {
        let all = self.gauges.iter().map(|gauge| (*gauge.key(), gauge.load()));
        all.filter(|(_, load)| *load != Load::ZERO).collect()
    }

    /// Forgets the gauges of endpoints that are gone and have nothing in flight here.
    pub fn retain(&self, is_member: impl Fn(EndpointKey) -> bool) {
        self.gauges.retain(|endpoint, gauge| is_member(*endpoint) || gauge.load() != Load::ZERO);
    }
}

/// One request in flight at one endpoint. Dropping it settles it, however the request ended.
#[must_use = "a booking that is dropped is settled"]
pub struct Booking {
    gauge: Arc<InFlightGauge>,
    /// Uncached prompt tokens, until the first chunk.
    prefill: Option<u64>,
    wake: ChangeNotifier,
}

impl fmt::Debug for Booking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booking").field("prefill", &self.prefill).finish_non_exhaustive()
    }
}

impl Booking {
    /// The endpoint had no other prompt to process at `now_ms`: it began with this one.
    pub fn began(&self, now_ms: u64) {
        self.gauge.turned_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The first chunk of the answer has come at `now_ms`: the prompt is processed, and the next one's turn.
    pub fn prefilled(&mut self, now_ms: u64) {
        if self.release_prefill() {
            self.gauge.turned_ms.store(now_ms, Ordering::Relaxed);
            self.announce();
        }
    }

    fn release_prefill(&mut self) -> bool {
        let Some(tokens) = self.prefill.take() else { return false };
        self.gauge.prefills.fetch_sub(1, Ordering::Relaxed);
        self.gauge.prefill_tokens.fetch_sub(tokens, Ordering::Relaxed);
        true
    }

    fn announce(&self) {
        self.gauge.changed.store(true, Ordering::Release);
        (self.wake)();
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        self.release_prefill();
        self.gauge.requests.fetch_sub(1, Ordering::Relaxed);
        self.announce();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bookings() -> Bookings {
        Bookings::new(Arc::new(|| {}))
    }

    #[test]
    fn a_booking_counts_until_it_is_dropped_and_its_prefill_until_the_first_chunk() {
        let (bookings, endpoint) = (bookings(), EndpointKey(1));
        let mut booking = bookings.reserve(endpoint, 100);
        assert_eq!(Load { requests: 1, prefills: 1, prefill_tokens: 100 }, bookings.gauge(endpoint).load());
        booking.prefilled(5);
        assert_eq!(5, bookings.gauge(endpoint).turned_ms());
        assert_eq!(Load { requests: 1, prefills: 0, prefill_tokens: 0 }, bookings.gauge(endpoint).load());
        drop(booking);
        assert_eq!(Load::ZERO, bookings.gauge(endpoint).load());
        assert!(bookings.whole().is_empty());
    }

    #[test]
    fn a_booking_that_moves_is_counted_at_one_place() {
        let (bookings, here, there) = (bookings(), EndpointKey(1), EndpointKey(2));
        let mut booking = bookings.reserve(here, 100);
        bookings.transfer(&mut booking, there);
        assert_eq!(Load::ZERO, bookings.gauge(here).load());
        assert_eq!(Load { requests: 1, prefills: 1, prefill_tokens: 100 }, bookings.gauge(there).load());
        booking.prefilled(5);
        bookings.transfer(&mut booking, here);
        assert_eq!(Load { requests: 1, prefills: 0, prefill_tokens: 0 }, bookings.gauge(here).load());
        drop(booking);
        assert!(bookings.whole().is_empty());
    }

    #[test]
    fn a_change_is_taken_once() {
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
}
