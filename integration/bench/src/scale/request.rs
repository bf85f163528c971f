//! A request.

/// The place of a request in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RequestId(pub(super) usize);

/// A request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) at_s: f64,
    /// Its prompt, of which no cache holds a part.
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
}
