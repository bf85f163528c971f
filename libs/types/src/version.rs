//! How far a picture of the pool has come, and what its readers must agree on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A point in the pool's history. `seq` grows by one with each change; `epoch` grows with each change of owner.
///
/// Ordered by epoch, then by seq. Written as `epoch.seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// Of the owner that minted it.
    pub epoch: u64,
    /// Number of changes since the pool's history began.
    pub seq: u64,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl FromStr for Version {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let (epoch, seq) = text.split_once('.')?;
            Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
        };
        read().ok_or_else(|| format!("\"{text}\" is no version of the form EPOCH.SEQ"))
    }
}

impl TryFrom<String> for Version {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// What the owner and the replicas of a pool must agree on to understand each other's placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Version of the frame grammar.
    pub protocol: u32,
    /// Size of a hashed block of prompt, in bytes.
    pub block_bytes: u32,
    /// Version of the hash chain over blocks.
    pub hash: u32,
}

impl Format {
    /// The protocol of this release: it grows by one with each minor version that changes it.
    pub const PROTOCOL: u32 = 1;
    const HASH: u32 = 1;

    /// The grammar and hash of this build, with blocks of `block_bytes`.
    pub const fn with_block_bytes(block_bytes: u32) -> Self {
        Self { protocol: Self::PROTOCOL, block_bytes, hash: Self::HASH }
    }

    /// Whether this build hashes prompts in the same way, so that the placements mean something to it.
    pub const fn is_known(self) -> bool {
        self.hash == Self::HASH
    }

    /// Whether placements made by either mean the same.
    pub const fn hashes_as(self, other: Self) -> bool {
        self.block_bytes == other.block_bytes && self.hash == other.hash
    }
}

impl Default for Format {
    /// Blocks of 64 tokens of 4 bytes each.
    fn default() -> Self {
        Self::with_block_bytes(256)
    }
}
