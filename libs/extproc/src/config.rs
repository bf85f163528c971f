//! What a conversation is told from outside.

use signalbox_types::Format;

/// What holds for every conversation of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest request body that is accepted, in bytes.
    pub body_limit_bytes: usize,
    /// Size of a hashed block of prompt, in bytes.
    pub block_bytes: u32,
}

impl Default for Config {
    /// Bodies of up to 64 MiB, blocks of the default [`Format`].
    fn default() -> Self {
        Self { body_limit_bytes: 64 << 20, block_bytes: Format::default().block_bytes }
    }
}
