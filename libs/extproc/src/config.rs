//! What a conversation is told from outside.

use std::sync::Arc;

use signalbox_types::Format;

/// What holds for every conversation of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The longest request body that is accepted, in bytes.
    pub body_limit_bytes: usize,
    /// Size of a hashed block of prompt, in bytes.
    pub block_bytes: u32,
    /// The request headers that a decision goes by: [`signalbox_types::Request::headers`].
    pub headers: Arc<[String]>,
}

impl Default for Config {
    /// Bodies of up to 64 MiB, blocks of the default [`Format`].
    fn default() -> Self {
        Self {
            body_limit_bytes: 64 << 20,
            block_bytes: Format::default().block_bytes,
            headers: Arc::default(),
        }
    }
}
