//! A conflating slot.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a value found in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// Nothing: who waits for the slot was woken.
    First,
    /// An earlier value, with which it was merged; nobody was woken again.
    Merged,
}

/// Holds at most one value, so that however fast values come, a slow taker finds one: the latest, merged with those it missed.
///
/// Any number of tasks may put; one takes.
#[derive(Debug)]
pub struct Slot<T> {
    value: Mutex<Option<T>>,
    filled: Notify,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), filled: Notify::new() }
    }
}

impl<T> Slot<T> {
    /// Fills the slot, or merges into the value that waits in it: `merge(waiting, value)`. The merge must be short: it holds a lock.
    pub fn put(&self, value: T, merge: impl FnOnce(&mut T, T)) -> Put {
        let mut waiting = self.lock();
        match waiting.as_mut() {
            Some(earlier) => {
                merge(earlier, value);
                Put::Merged
            }
            None => {
                *waiting = Some(value);
                drop(waiting);
                self.filled.notify_one();
                Put::First
            }
        }
    }

    /// Empties the slot, at once.
    pub fn try_take(&self) -> Option<T> {
        self.lock().take()
    }

    /// Empties the slot as soon as something is in it. Nothing is lost if the wait is given up.
    pub async fn take(&self) -> T {
        loop {
            if let Some(value) = self.try_take() {
                return value;
            }
            self.filled.notified().await;
        }
    }

    /// A merge that panicked leaves an older value behind, which is as good as any.
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn add(waiting: &mut u64, value: u64) {
        *waiting += value;
    }

    #[test]
    fn merges_until_taken() {
        let slot = Slot::default();
        assert_eq!((slot.put(1, add), slot.put(2, add)), (Put::First, Put::Merged));
        assert_eq!((slot.try_take(), slot.try_take()), (Some(3), None));
        assert_eq!(slot.put(4, add), Put::First);
    }

    #[tokio::test]
    async fn a_wake_that_was_not_needed_does_no_harm() {
        let slot = Arc::new(Slot::default());
        slot.put(1, add);
        assert_eq!(slot.try_take(), Some(1));
        let taker = tokio::spawn({
            let slot = slot.clone();
            async move { slot.take().await }
        });
        slot.put(2, add);
        assert_eq!(taker.await.unwrap(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nothing_is_lost_between_many_tasks() {
        const EACH: u64 = 2_000;
        let slot = Arc::new(Slot::default());
        for _ in 0..4 {
            let slot = slot.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    slot.put(1, add);
                    tokio::task::yield_now().await;
                }
            });
        }
        let mut taken = 0;
        while taken < 4 * EACH {
            taken += slot.take().await;
        }
        assert_eq!((taken, slot.try_take()), (4 * EACH, None));
    }
}
