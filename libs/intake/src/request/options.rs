//! Options of the request parser.

/// How a body is parsed.
#[derive(Clone, Copy)]
pub struct ParseOptions<'a> {
    /// Size of a hashed block of the prompt in bytes.
    pub block_bytes: u32,
    /// Returns the model to serve a request with instead of the requested one, or `None` to serve the
    /// requested model. The argument is empty if the request names no model.
    pub rewrite: &'a dyn Fn(&str) -> Option<String>,
}

impl ParseOptions<'_> {
    /// Returns options with this block size and without model rewrites.
    pub fn new(block_bytes: u32) -> Self {
        Self { block_bytes, rewrite: &|_| None }
    }
}
