//! Numeric identities. Only [`Generation`] is ordered by meaning; the others are opaque.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::hex;

/// The identity of an endpoint within its pool: the XXH3 hash of its name. It is the same in every process
/// and after every restart.
///
/// An owner rejects a pool in which two names have the same key, so a key identifies a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EndpointKey(#[serde(with = "hex")] pub u64);

impl EndpointKey {
    /// Returns the key of the endpoint called `name`.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }
}

impl fmt::Display for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One run of an EPP replica. A replica whose origin expired takes a new one; its name can stay the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin(#[serde(with = "hex")] pub u64);

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The identity of an EPP replica: the XXH3 hash of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplicaKey(pub u64);

impl ReplicaKey {
    /// Returns the key of the replica called `name`.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }
}

/// The identity of a served model or adapter in feedback: the XXH3 hash of its name, as in the seed of its chains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ModelKey(#[serde(with = "hex")] pub u64);

impl ModelKey {
    /// Returns the key of the model called `name`.
    pub fn of(name: &str) -> Self {
        Self(xxh3_64(name.as_bytes()))
    }
}

/// A response that an endpoint keeps for clients that name its id again, as in OpenAI's responses API: the XXH3-64 of that
/// id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResponseKey(pub u64);

impl ResponseKey {
    /// Returns the key of the response with this id.
    pub fn of(id: &str) -> Self {
        Self(xxh3_64(id.as_bytes()))
    }
}

/// One run of a model server: its start time in milliseconds since the Unix epoch if the server reports it,
/// else a number that is another one after each restart that was noticed; 0 if nothing is known yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Incarnation(pub u64);

/// The number of an assignment of an endpoint to a collector. The highest one is in force; reports of older
/// ones are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl Generation {
    /// Returns the generation after this one; the last one is its own successor.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The hash of a prompt block and everything before it. Equal hashes mean equal prefixes up to and including
/// the block.
///
/// 0 is never the hash of a block; as a parent it marks the first block of a chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlockHash(pub u64);

impl BlockHash {
    /// Parent of a chain's first block.
    pub const ROOT: Self = Self(0);
}
