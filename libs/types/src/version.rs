//! Versions of a pool's history, and the format that processes of a pool must agree on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::prompt_size::BYTES_PER_TOKEN;

/// A point in a pool's history. `seq` grows by one with each change; `epoch` grows with each new owner.
///
/// Ordered by epoch, then by seq. Written as `epoch.seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Version {
    /// Epoch of the owner that created the version.
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
        let parse = || {
            let (epoch, seq) = text.split_once('.')?;
            Some(Self { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? })
        };
        parse().ok_or_else(|| format!("\"{text}\" is not a version of the form EPOCH.SEQ"))
    }
}

impl TryFrom<String> for Version {
    type Error = String;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The wire format that the owner and the replicas of a pool must share to understand each other's
/// placements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Version of the frame protocol.
    pub protocol: u32,
    /// Size of a hashed prompt block, in bytes.
    pub block_bytes: u32,
    /// Version of the hash chain over blocks.
    pub hash: u32,
}

impl Format {
    /// Protocol version of this release. Neighboring versions understand each other: it grows by one with a
    /// compatible change, and by two with one that older releases would misread, such as a new part of a digest.
    pub const PROTOCOL: u32 = 5;
    /// Version of what is hashed of a prompt, and how. It grows by one with each change to either.
    const HASH: u32 = 2;

    /// Returns this build's protocol and hash version, with blocks of `block_bytes`.
    pub const fn with_block_bytes(block_bytes: u32) -> Self {
        Self { protocol: Self::PROTOCOL, block_bytes, hash: Self::HASH }
    }

    /// Like [`Self::with_block_bytes`], with blocks of `block_tokens` tokens of usual length.
    pub const fn with_block_tokens(block_tokens: u32) -> Self {
        Self::with_block_bytes(block_tokens * BYTES_PER_TOKEN)
    }

    /// Returns whether this build hashes prompts in the same way and therefore understands placements in this
    /// format.
    pub const fn is_supported(self) -> bool {
        self.hash == Self::HASH
    }

    /// Returns whether placements have the same meaning in both formats.
    pub const fn hashes_like(self, other: Self) -> bool {
        self.block_bytes == other.block_bytes && self.hash == other.hash
    }
}

impl Default for Format {
    /// Returns the format with blocks of 64 tokens, which are 256 bytes.
    fn default() -> Self {
        Self::with_block_tokens(64)
    }
}
