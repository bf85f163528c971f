//! The clock and the future events of a simulation in virtual time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Future events in order of time; events at the same time keep the order in which they were pushed. The time of the
/// latest event that was taken is the simulated time.
#[derive(Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Entry<E>>>,
    pushed: u64,
    now_us: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at_us: u64,
    number: u64,
    event: E,
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), pushed: 0, now_us: 0 }
    }
}

impl<E> EventQueue<E> {
    /// Returns the simulated time in microseconds.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// Adds an event at `at_us`, or now when that time has passed.
    pub fn push(&mut self, at_us: u64, event: E) {
        self.pushed += 1;
        let at_us = at_us.max(self.now_us);
        self.heap.push(Reverse(Entry { at_us, number: self.pushed, event }));
    }

    /// Takes the next event and advances the time to it.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(Entry { at_us, event, .. }) = self.heap.pop()?;
        self.now_us = at_us;
        Some((at_us, event))
    }

    /// Takes the next event that is due by `until_us` and advances the time to it; without one, to `until_us`.
    pub fn pop_until(&mut self, until_us: u64) -> Option<E> {
        if self.heap.peek().is_some_and(|Reverse(next)| next.at_us <= until_us) {
            return self.pop().map(|(_, event)| event);
        }
        self.now_us = self.now_us.max(until_us);
        None
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::EventQueue;

    #[test]
    fn events_come_in_order_of_time_and_then_of_insertion() {
        let mut queue = EventQueue::default();
        for (at_us, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(at_us, event);
        }
        let taken: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(vec![(1, 'a'), (3, 'b'), (5, 'c'), (5, 'd')], taken);
        assert_eq!(5, queue.now_us());
    }

    #[test]
    fn time_advances_to_the_limit_and_never_back() {
        let mut queue = EventQueue::default();
        queue.push(10, 'a');
        assert_eq!((None, 9), (queue.pop_until(9), queue.now_us()));
        queue.push(2, 'b');
        assert_eq!((Some('b'), 9), (queue.pop_until(9), queue.now_us()));
        assert_eq!((Some('a'), 10), (queue.pop_until(10), queue.now_us()));
        assert_eq!((None, 10), (queue.pop_until(4), queue.now_us()));
    }
}
