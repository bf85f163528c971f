//! A hasher for keys that are hashes already.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use signalbox_types::EndpointKey;

/// Uses a key of 64 bits as its own hash. Block hashes and endpoint keys are uniformly distributed; hashing them again
/// only costs time.
#[derive(Clone, Copy, Debug, Default)]
pub struct IdentityHasher(u64);

pub(crate) type BuildIdentityHasher = BuildHasherDefault<IdentityHasher>;

/// A map by endpoint, in no particular order.
pub type EndpointMap<V> = HashMap<EndpointKey, V, BuildHasherDefault<IdentityHasher>>;

/// A set of endpoints, in no particular order.
pub type EndpointSet = HashSet<EndpointKey, BuildHasherDefault<IdentityHasher>>;

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
