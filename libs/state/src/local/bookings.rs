//! Counts the requests that this process has sent to each endpoint and that have not ended. The counters are
//! atomic: decisions and the feedback stream read them concurrently.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crossbeam_queue::SegQueue;
use dashmap::DashMap;
use signalbox_types::{EndpointKey, Load};

use super::unserved_booking::{UnservedBooking, UnservedGauge};

/// The sum of this process's bookings at one endpoint.
#[derive(Debug)]
pub struct InFlightGauge {
    endpoint: EndpointKey,
    requests: AtomicU32,
    prefills: AtomicU32,
    prefill_tokens: AtomicU64,
    prefill_began_ms: AtomicU64,
    /// Whether the gauge is among the changed ones that wait to be taken.
    changed: AtomicBool,
    unserved: Arc<UnservedGauge>,
}

impl InFlightGauge {
    fn new(endpoint: EndpointKey) -> Self {
        Self {
            endpoint,
            requests: AtomicU32::new(0),
            prefills: AtomicU32::new(0),
            prefill_tokens: AtomicU64::new(0),
            prefill_began_ms: AtomicU64::new(0),
            changed: AtomicBool::new(false),
            unserved: Arc::default(),
        }
    }

    /// Records that the endpoint was seen to start processing a prompt at `now_ms`, whoever sent it.
    pub(super) fn record_prefill_start(&self, now_ms: u64) {
        self.prefill_began_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Returns when the endpoint was last known to start processing a prompt, in milliseconds of this process's
    /// clock.
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

/// The gauges that changed since they were last taken, and whom to tell.
struct Changes {
    gauges: SegQueue<Arc<InFlightGauge>>,
    notify: ChangeNotifier,
}

impl Changes {
    /// Queues the gauge unless it waits already. Called after the change, so that whoever takes the gauge reads it.
    fn record(&self, gauge: &Arc<InFlightGauge>) {
        if !gauge.changed.swap(true, Ordering::AcqRel) {
            self.gauges.push(Arc::clone(gauge));
        }
    }
}

/// This process's bookings per endpoint.
pub struct Bookings {
    gauges: DashMap<EndpointKey, Arc<InFlightGauge>>,
    changes: Arc<Changes>,
}

impl fmt::Debug for Bookings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bookings").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

impl Bookings {
    /// Creates empty bookings; `notify` is called after each change.
    pub fn new(notify: ChangeNotifier) -> Self {
        Self { gauges: DashMap::new(), changes: Arc::new(Changes { gauges: SegQueue::new(), notify }) }
    }

    /// Returns the gauge of an endpoint. A [`View`](super::view::View) has those of its endpoints at hand.
    pub fn gauge(&self, endpoint: EndpointKey) -> Arc<InFlightGauge> {
        let known = self.gauges.get(&endpoint).map(|gauge| Arc::clone(&gauge));
        let new = || Arc::new(InFlightGauge::new(endpoint));
        known.unwrap_or_else(|| Arc::clone(&self.gauges.entry(endpoint).or_insert_with(new)))
    }

    /// Books a request with `prefill_tokens` uncached prompt tokens at `endpoint`, until the booking is
    /// dropped.
    pub fn reserve(&self, endpoint: EndpointKey, prefill_tokens: u64) -> Booking {
        let booking = self.reserve_unannounced(self.gauge(endpoint), prefill_tokens);
        self.announce();
        booking
    }

    /// Does the same as [`Self::reserve`] at the endpoint of `gauge`, without calling the notifier, so that the caller
    /// can queue what the owner should receive together with the booking, and then call [`Self::announce`].
    pub fn reserve_unannounced(&self, gauge: Arc<InFlightGauge>, prefill_tokens: u64) -> Booking {
        gauge.requests.fetch_add(1, Ordering::Relaxed);
        gauge.prefills.fetch_add(1, Ordering::Relaxed);
        gauge.prefill_tokens.fetch_add(prefill_tokens, Ordering::Relaxed);
        self.changes.record(&gauge);
        Booking { gauge, prefill: Some(prefill_tokens), changes: Arc::clone(&self.changes) }
    }

    /// Calls the notifier.
    pub fn announce(&self) {
        (self.changes.notify)();
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
        // No more than wait now: those that change meanwhile wait for the next call.
        let changed = (0..self.changes.gauges.len()).map_while(|_| self.changes.gauges.pop());
        let load = |gauge: Arc<InFlightGauge>| {
            // Before the gauge is read: a later change queues it again.
            gauge.changed.swap(false, Ordering::AcqRel);
            (gauge.endpoint, gauge.load())
        };
        changed.map(load).collect()
    }

    /// Returns all gauges that are not zero.
    pub fn loads(&self) -> Vec<(EndpointKey, Load)> {
        let all = self.gauges.iter().map(|gauge| (*gauge.key(), gauge.load()));
        all.filter(|(_, load)| *load != Load::ZERO).collect()
    }

    /// Removes the gauges that nothing refers to: no view, no booking, and no change that waits to be taken. So the gauge
    /// of an endpoint that left the pool goes when its last request has ended, and never while somebody could book there.
    pub fn remove_unused(&self) {
        self.gauges.retain(|_, gauge| Arc::strong_count(gauge) > 1);
    }
}

/// One request in flight at one endpoint. Dropping it ends the booking, regardless of how the request ended.
#[must_use = "dropping a booking ends it"]
pub struct Booking {
    gauge: Arc<InFlightGauge>,
    /// The uncached prompt tokens; `None` after the first chunk.
    prefill: Option<u64>,
    changes: Arc<Changes>,
}

impl fmt::Debug for Booking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Booking").field("prefill", &self.prefill).finish_non_exhaustive()
    }
}

impl Booking {
    /// Records that the endpoint started to process this prompt at `now_ms`, because it had no other.
    pub fn record_prefill_start(&self, now_ms: u64) {
        self.gauge.record_prefill_start(now_ms);
    }

    /// Records that the first chunk of the response arrived at `now_ms`: the prompt is processed, and the
    /// endpoint starts with the next one.
    pub fn record_first_output(&mut self, now_ms: u64) {
        if self.release_prefill() {
            self.gauge.record_prefill_start(now_ms);
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
        self.changes.record(&self.gauge);
        (self.changes.notify)();
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
