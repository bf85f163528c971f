//! A hasher for keys that are hashes already.

use std::hash::{BuildHasherDefault, Hasher};

/// Uses a block hash as its own hash. Block hashes are uniformly distributed; hashing them again only costs
/// time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdentityHasher(u64);

pub(crate) type BuildIdentityHasher = BuildHasherDefault<IdentityHasher>;

impl Hasher for IdentityHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}
