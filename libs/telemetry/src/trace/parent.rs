//! The W3C `traceparent` header.

use opentelemetry::trace::{SpanId, TraceId};

/// Length of `traceparent` in version 0: version, trace id, span id and flags, with dashes between.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The span that a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) is_sampled: bool,
}

impl Parent {
    /// Reads a `traceparent`; `None` where it is none, as the standard demands: the trace begins anew then.
    pub(super) fn read(header: &str) -> Option<Self> {
        let header = header.trim();
        let (known, beyond) = header.as_bytes().split_at_checked(LENGTH)?;
        let version = number(&known[..2])?;
        let is_whole = match version {
            0 => beyond.is_empty(),
            0xff => false,
            _ => beyond.first().is_none_or(|next| *next == b'-'),
        };
        let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !is_whole || !has_dashes {
            return None;
        }
        let trace_id = TraceId::from(number(&known[3..35])?);
        let span_id = SpanId::from(number(&known[36..52])? as u64);
        let is_sampled = number(&known[53..])? & 1 == 1;
        let is_valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
        is_valid.then_some(Self { trace_id, span_id, is_sampled })
    }
}

/// At most 32 hexadecimal digits, none of them a capital letter.
fn number(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    #[test]
    fn a_traceparent_is_read() {
        let read = Parent::read(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!((TRACE, SPAN), (read.trace_id.to_string().as_str(), read.span_id.to_string().as_str()));
        assert!(read.is_sampled);
        assert!(!Parent::read(&format!("00-{TRACE}-{SPAN}-02")).unwrap().is_sampled);
        assert!(Parent::read(&format!("01-{TRACE}-{SPAN}-03-more")).unwrap().is_sampled);
    }

    #[test]
    fn what_is_none_is_none() {
        let zeros = (&"0".repeat(32), &"0".repeat(16));
        for bad in [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("00-{}-{SPAN}-01", zeros.0),
            format!("00-{TRACE}-{}-01", zeros.1),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}_{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0é"),
            "é".repeat(60),
        ] {
            assert_eq!(None, Parent::read(&bad), "{bad}");
        }
    }
}
