//! How much of requests' bodies is held at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The bytes of request bodies that all conversations of a server hold together, and how many they may.
#[derive(Clone, Debug)]
pub struct Buffers {
    held_bytes: Arc<AtomicU64>,
    limit_bytes: u64,
}

impl Buffers {
    /// None held, of at most so many.
    pub fn new(limit_bytes: u64) -> Self {
        Self { held_bytes: Arc::default(), limit_bytes }
    }

    /// How many bytes are held now.
    pub fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self) -> Held {
        Held { buffers: self.clone(), bytes: 0 }
    }
}

impl Default for Buffers {
    /// Without a limit.
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

/// What one conversation holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    buffers: Buffers,
    bytes: u64,
}

/// There is no room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl Held {
    /// Makes room for so many more bytes.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let bytes = bytes as u64;
        let held_bytes = self.buffers.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        if held_bytes.saturating_add(bytes) > self.buffers.limit_bytes { Err(Full) } else { Ok(()) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.buffers.held_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_again_when_somebody_ends() {
        let buffers = Buffers::new(10);
        let (mut one, mut other) = (buffers.begin(), buffers.begin());
        assert_eq!(Ok(()), one.grow(6));
        assert_eq!(Err(Full), other.grow(5));
        drop(other);
        assert_eq!(6, buffers.held_bytes());
        drop(one);
        assert_eq!(Ok(()), buffers.begin().grow(10));
        assert_eq!(0, buffers.held_bytes());
    }
}
