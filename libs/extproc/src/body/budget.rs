//! Limits the memory that buffered request bodies take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The request bodies that all conversations of a server buffer together, and their limit.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    held_bytes: Arc<AtomicU64>,
    limit_bytes: u64,
}

impl BodyBudget {
    /// Returns an unused budget of `limit_bytes`.
    pub fn new(limit_bytes: u64) -> Self {
        Self { held_bytes: Arc::default(), limit_bytes }
    }

    /// Returns the number of bytes that are buffered now.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn start_reservation(&self) -> BodyReservation {
        BodyReservation { budget: self.clone(), bytes: 0 }
    }
}

impl Default for BodyBudget {
    /// Returns a budget without a limit.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

/// The share of one conversation. Dropping it releases the bytes.
#[derive(Debug)]
pub(crate) struct BodyReservation {
    budget: BodyBudget,
    bytes: u64,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BudgetExceeded;

impl BodyReservation {
    /// Changes the share to `bytes`. It counts even if the budget is exceeded, until the reservation is dropped.
    ///
    /// # Errors
    /// Returns [`BudgetExceeded`] if the share grew and the budget is exceeded.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), BudgetExceeded> {
        let (before, bytes) = (self.bytes, bytes as u64);
        self.bytes = bytes;
        if bytes <= before {
            self.budget.held_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        }
        let held_bytes = self.budget.held_bytes.fetch_add(bytes - before, Ordering::Relaxed);
        let is_exceeded = held_bytes.saturating_add(bytes - before) > self.budget.limit_bytes;
        if is_exceeded { Err(BudgetExceeded) } else { Ok(()) }
    }

    /// Returns the share in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Adds `bytes` to the share; like [`Self::resize`].
    ///
    /// # Errors
    /// Returns [`BudgetExceeded`] if the budget is exceeded.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), BudgetExceeded> {
        self.resize(self.bytes() + bytes)
    }
}

impl Drop for BodyReservation {
    fn drop(&mut self) {
        self.budget.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropped_reservation_frees_its_bytes() {
        let budget = BodyBudget::new(10);
        let (mut one, mut other) = (budget.start_reservation(), budget.start_reservation());
        assert_eq!(Ok(()), one.grow(6));
        assert_eq!(Err(BudgetExceeded), other.grow(5));
        drop(other);
        assert_eq!(6, budget.held_bytes());
        drop(one);
        let mut third = budget.start_reservation();
        assert_eq!(Ok(()), third.resize(10));
        assert_eq!(Ok(()), third.resize(4));
        assert_eq!(4, budget.held_bytes());
        assert_eq!(Err(BudgetExceeded), third.resize(11));
        drop(third);
        assert_eq!(0, budget.held_bytes());
    }
}
