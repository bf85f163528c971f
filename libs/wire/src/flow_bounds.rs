//! Bounds of the numbers of flow control.

use crate::error::WireError;

/// The highest number of requests that wait, of the tokens and bytes of a flow, and of grants. Sums over all flows of all
/// replicas do not overflow, and numbers can be counted on for ever.
pub(crate) const MAX_REQUESTS: u64 = 1 << 32;
pub(crate) const MAX_AMOUNT: u64 = 1 << 48;
const MAX_GRANTS: u64 = 1 << 62;

/// Decodes the number of a grant or of a revocation.
pub(crate) fn decode_number(number: u64) -> Result<u64, WireError> {
    Some(number).filter(|number| *number <= MAX_GRANTS).ok_or(WireError::Bounds("the number of a grant"))
}
