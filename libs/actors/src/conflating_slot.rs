//! Passes values from tasks to one reader through a slot that merges values until they are taken.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What happened to a value that was put into the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The slot was empty: it holds the value now, and its taker was woken.
    Stored,
    /// The slot held an earlier value, which was merged with this one. Nobody was woken again.
    Merged,
}

/// Holds at most one value. However fast values arrive, a slow taker finds a single one: the latest, merged
/// with those it missed.
///
/// Any number of tasks may put; one takes.
#[derive(Debug)]
pub struct ConflatingSlot<T> {
    value: Mutex<Option<T>>,
    filled: Notify,
}

impl<T> Default for ConflatingSlot<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), filled: Notify::new() }
    }
}

impl<T> ConflatingSlot<T> {
    /// Stores `value`, or merges it into the value that is already there with `merge(stored, value)`. The
    /// merge must be short, because it runs under a lock.
    pub fn put(&self, value: T, merge: impl FnOnce(&mut T, T)) -> PutOutcome {
        let mut slot = self.lock();
        match slot.as_mut() {
            Some(earlier) => {
                merge(earlier, value);
                PutOutcome::Merged
            }
            None => {
                *slot = Some(value);
                drop(slot);
                self.filled.notify_one();
                PutOutcome::Stored
            }
        }
    }

    /// Takes the value, if there is one, without waiting.
    pub fn try_take(&self) -> Option<T> {
        self.lock().take()
    }

    /// Waits for a value and takes it. Cancelling the wait loses nothing.
    pub async fn take(&self) -> T {
        loop {
            if let Some(value) = self.try_take() {
                return value;
            }
            self.filled.notified().await;
        }
    }

    /// Ignores poisoning: a merge that panicked leaves an older value behind, which is as valid as any.
    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn add(stored: &mut u64, value: u64) {
        *stored += value;
    }

    #[test]
    fn values_are_merged_until_taken() {
        let slot = ConflatingSlot::default();
        assert_eq!((slot.put(1, add), slot.put(2, add)), (PutOutcome::Stored, PutOutcome::Merged));
        assert_eq!((slot.try_take(), slot.try_take()), (Some(3), None));
        assert_eq!(slot.put(4, add), PutOutcome::Stored);
    }

    #[tokio::test]
    async fn spurious_wakeup_is_harmless() {
        let slot = Arc::new(ConflatingSlot::default());
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
    async fn no_value_is_lost_between_concurrent_tasks() {
        const EACH: u64 = 2_000;
        let slot = Arc::new(ConflatingSlot::default());
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
