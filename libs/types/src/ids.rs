//! Identities. Each is a number that travels as it is; none means anything by its size but [`Generation`].

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::hex;

/// Names an endpoint within its pool, the same in every process and after every restart: the XXH3 hash of its name.
///
/// An owner refuses a pool in which two names give one key, so a key is as good as the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointKey(#[serde(with = "hex")] pub u64);

impl EndpointKey {
    /// The key of the endpoint called `name`.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One life of one EPP replica. A replica that was given up takes a new one; its name may stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin(#[serde(with = "hex")] pub u64);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names an EPP replica: the XXH3 hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaKey(pub u64);

impl ReplicaKey {
    /// The key of the replica called `name`.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }
}

/// One life of a model server: when it started, in milliseconds since the Unix epoch; 0 where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// Which assignment of an endpoint to a collector a reading was made under. The highest is the one in force.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

/// A block of a prompt together with everything before it: equal hashes mean equal prefixes up to and including the block.
///
/// 0 is not a block; as a parent it marks the first block of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub u64);

impl BlockHash {
    /// The parent of a chain's first block.
    pub const ROOT: Self = Self(0);
}
