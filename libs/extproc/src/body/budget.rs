//! Limits the memory that buffered request bodies take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The share of the limit that bodies may take in addition while their models are looked for: one part in this many.
const SEARCHED_PART: u64 = 8;

/// The request bodies that all conversations of a server buffer together, and their limit.
///
/// Bodies that pass unread, and are kept only to look for their models, have a limit of their own in addition: an eighth
/// of the other. Without room they pass unsearched, so many long uploads cannot cause the refusal of a request whose body
/// has to be read.
#[derive(Clone, Debug)]
pub struct BodyBudget {
    read: Room,
    searched: Room,
}

/// The bodies of one kind, and their limit.
#[derive(Clone, Debug)]
struct Room {
    held_bytes: Arc<AtomicU64>,
    limit_bytes: u64,
}

impl Room {
    fn new(limit_bytes: u64) -> Self {
        Self { held_bytes: Arc::default(), limit_bytes }
    }
}

impl BodyBudget {
    /// Returns an unused budget of `limit_bytes` for bodies that are read.
    pub fn new(limit_bytes: u64) -> Self {
        Self { read: Room::new(limit_bytes), searched: Room::new(limit_bytes / SEARCHED_PART) }
    }

    /// Returns the number of bytes that are buffered now, of bodies of both kinds.
    pub fn held_bytes(&self) -> u64 {
        [&self.read, &self.searched].map(|room| room.held_bytes.load(Ordering::Relaxed)).iter().sum()
    }

    /// Returns the empty share of a body that is read.
    pub(crate) fn start_reservation(&self) -> BodyReservation {
        BodyReservation { room: self.read.clone(), bytes: 0 }
    }

    /// Returns the empty share of a body that passes unread, while its model is looked for.
    pub(crate) fn start_search(&self) -> BodyReservation {
        BodyReservation { room: self.searched.clone(), bytes: 0 }
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
    room: Room,
    bytes: u64,
}

/// The budget for bodies of this kind is used up.
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
            self.room.held_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
            return Ok(());
        }
        let held_bytes = self.room.held_bytes.fetch_add(bytes - before, Ordering::Relaxed);
        let is_exceeded = held_bytes.saturating_add(bytes - before) > self.room.limit_bytes;
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
        self.room.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
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

    #[test]
    fn searched_bodies_have_an_eighth_in_addition() {
        let budget = BodyBudget::new(80);
        let (mut read, mut searched) = (budget.start_reservation(), budget.start_search());
        assert_eq!(Ok(()), searched.grow(10));
        assert_eq!(Ok(()), read.grow(80));
        assert_eq!(90, budget.held_bytes());
        assert_eq!(Err(BudgetExceeded), searched.grow(1));
        assert_eq!(Err(BudgetExceeded), read.grow(1));
        drop((read, searched));
        assert_eq!(0, budget.held_bytes());
    }
}
