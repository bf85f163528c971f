//! The result of a check.

/// What was seen of an effect; the error says what was expected where.
pub(super) type Found = Result<String, String>;
