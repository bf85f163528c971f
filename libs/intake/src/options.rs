//! Options of the request parser.

use signalbox_types::MediaWeights;

/// How a body is parsed.
#[derive(Clone, Copy)]
pub struct ParseOptions<'a> {
    /// Size of a hashed block of the prompt in bytes.
    pub block_bytes: u32,
    /// What media weigh in tokens.
    pub media_weights: MediaWeights,
    /// Returns the model to serve a request with instead of the requested one, or `None` to serve the
    /// requested model. The argument is empty if the request names no model.
    pub rewrite: &'a dyn Fn(&str) -> Option<String>,
}

impl ParseOptions<'_> {
    /// Returns options with this block size, the default weights of media, and without model rewrites.
    pub fn new(block_bytes: u32) -> Self {
        Self { block_bytes, media_weights: MediaWeights::default(), rewrite: &|_| None }
    }
}
