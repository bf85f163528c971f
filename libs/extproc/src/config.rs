//! What a conversation is told from outside.

use std::sync::Arc;

use signalbox_intake::Parsers;
use signalbox_types::{Format, Models};

use crate::buffers::Buffers;

/// What becomes of the endpoints that a gateway names for a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubsetHint {
    /// It goes to one of them, or nowhere.
    #[default]
    Honoured,
    /// They count for nothing.
    Ignored,
}

/// What holds for every conversation of a server at one moment.
#[derive(Clone, Debug)]
pub struct Config {
    /// The longest request body that is accepted, in bytes.
    pub body_limit_bytes: usize,
    /// What all conversations hold of bodies together.
    pub buffers: Buffers,
    /// Size of a hashed block of prompt, in bytes.
    pub block_bytes: u32,
    /// The request headers that a decision goes by: [`signalbox_types::Request::headers`].
    pub headers: Arc<[String]>,
    /// Which APIs are spoken.
    pub parsers: Arc<Parsers>,
    /// What becomes of the endpoints that a gateway names.
    pub subset: SubsetHint,
    /// What the pool says of models.
    pub models: Arc<Models>,
    /// After how many seconds a client shall come again that is refused for want of room.
    pub retry_after_s: u32,
}

impl Default for Config {
    /// Bodies of up to 64 MiB and as many as come, blocks of the default [`Format`], again after a second.
    fn default() -> Self {
        Self {
            body_limit_bytes: 64 << 20,
            buffers: Buffers::default(),
            block_bytes: Format::default().block_bytes,
            headers: Arc::default(),
            parsers: Arc::default(),
            subset: SubsetHint::default(),
            models: Arc::default(),
            retry_after_s: 1,
        }
    }
}
