//! Bookings of requests whose end does not show on their own stream: a gateway's access log tells of it, to whichever replica.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use signalbox_types::Ended;
use tokio::task::AbortHandle;

use crate::booked::Booked;
use crate::picker::Picker;

/// Where ends are told, a booking whose end is not goes after so many times its expected duration: many answers take longer than
/// expected, and few ends get lost.
const PATIENCE: u32 = 8;

/// The shortest such time.
const LEAST_PATIENCE: Duration = Duration::from_secs(20);

/// Bookings whose end may be told by somebody else, by their numbers.
#[derive(Debug)]
pub(crate) struct Held {
    slots: DashMap<u64, Slot>,
    next: AtomicU64,
    /// When an end was last told; 0: never.
    told_at_ms: AtomicU64,
    /// When one was last waited for in vain; 0: never.
    expired_at_ms: AtomicU64,
}

#[derive(Debug)]
enum Slot {
    /// The request's own stream is still there.
    Streaming,
    /// So it is, and the end was told already.
    Told(Ended),
    /// The stream is over. The booking, and the task that lets it go if nobody tells of the end.
    Waiting(Booked, AbortHandle),
}

impl Default for Held {
    /// Numbers begin anywhere, so that they are not those of a process before this one with the same name.
    fn default() -> Self {
        let next = AtomicU64::new(rand::random());
        Self { slots: DashMap::new(), next, told_at_ms: AtomicU64::new(0), expired_at_ms: AtomicU64::new(0) }
    }
}

impl Held {
    /// The number of a booking whose end may be told; to be given up with [`Self::forget`] or [`Picker::hold`].
    pub(crate) fn number(&self) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.slots.insert(number, Slot::Streaming);
        number
    }

    /// The booking is settled.
    pub(crate) fn forget(&self, number: u64) {
        self.slots.remove(&number);
    }

    /// How many bookings wait for their end to be told.
    pub(crate) fn waiting(&self) -> usize {
        self.slots.iter().filter(|slot| matches!(**slot, Slot::Waiting(..))).count()
    }

    /// Whether an end was ever told.
    pub(crate) fn was_ever_told(&self) -> bool {
        self.told_at_ms.load(Ordering::Relaxed) > 0
    }

    /// Whether ends are told, as far as is known: until one was waited for in vain, and again once one is.
    fn are_told(&self) -> bool {
        self.told_at_ms.load(Ordering::Relaxed) >= self.expired_at_ms.load(Ordering::Relaxed)
    }

    fn expire(&self, number: u64, now_ms: u64) {
        self.expired_at_ms.store(now_ms, Ordering::Relaxed);
        self.forget(number);
    }

    /// Has the booking wait, with the task that `timer` starts; gives it back with its end where that was told already.
    fn wait(
        &self,
        number: u64,
        booked: Booked,
        timer: impl FnOnce() -> AbortHandle,
    ) -> Option<(Booked, Ended)> {
        let Entry::Occupied(mut slot) = self.slots.entry(number) else { return None };
        if !matches!(slot.get(), Slot::Told(_)) {
            slot.insert(Slot::Waiting(booked, timer()));
            return None;
        }
        match slot.remove() {
            Slot::Told(ended) => Some((booked, ended)),
            Slot::Streaming | Slot::Waiting(..) => None,
        }
    }

    /// The end of a booking is told: gives the booking back if it waits for that.
    fn told(&self, now_ms: u64, ended: &Ended) -> Told {
        let Entry::Occupied(mut slot) = self.slots.entry(ended.booking.number) else { return Told::Unknown };
        self.told_at_ms.store(now_ms.max(1), Ordering::Relaxed);
        if !matches!(slot.get(), Slot::Waiting(..)) {
            slot.insert(Slot::Told(ended.clone()));
            return Told::Early;
        }
        match slot.remove() {
            Slot::Waiting(booked, timer) => {
                timer.abort();
                Told::Over(booked)
            }
            Slot::Streaming | Slot::Told(_) => Told::Early,
        }
    }

    fn prefilled(&self, number: u64, now_ms: u64) {
        if let Some(mut slot) = self.slots.get_mut(&number)
            && let Slot::Waiting(booked, _) = &mut *slot
        {
            booked.booking.prefilled(now_ms);
        }
    }
}

/// What is known of a booking whose end is told.
enum Told {
    /// Nothing: it is settled.
    Unknown,
    /// Its own stream is not over yet, and sees to it.
    Early,
    /// It waited for this.
    Over(Booked),
}

impl Picker {
    /// A stream is over that may have hidden its response's end: the booking is held until that is told, or until nobody will.
    pub(crate) fn hold(self: &Arc<Self>, number: u64, booked: Booked) {
        let patience = if self.held.are_told() {
            (booked.expected * PATIENCE).max(LEAST_PATIENCE)
        } else {
            booked.expected
        };
        let (prefilled_at, until) = (booked.at + booked.prefilled_after, booked.at + patience);
        if until <= Instant::now() {
            self.held.forget(number);
            return;
        }
        self.metrics.bookings_held.inc();
        let timer = || {
            let picker = Arc::clone(self);
            let task = async move {
                tokio::time::sleep_until(prefilled_at.into()).await;
                picker.held.prefilled(number, picker.now_ms());
                tokio::time::sleep_until(until.into()).await;
                picker.metrics.bookings_expired.inc();
                picker.held.expire(number, picker.now_ms());
            };
            tokio::spawn(task).abort_handle()
        };
        if let Some((booked, ended)) = self.held.wait(number, booked, timer) {
            booked.ended(self, &ended);
        }
    }

    /// The end of a request that this replica booked is told.
    pub(crate) fn told(&self, ended: &Ended) {
        match self.held.told(self.now_ms(), ended) {
            Told::Unknown => self.metrics.logged("unknown"),
            Told::Early => self.metrics.logged("ended"),
            Told::Over(booked) => {
                self.metrics.logged("ended");
                booked.ended(self, ended);
            }
        }
    }
}
