//! Parses the W3C `traceparent` header.

use opentelemetry::trace::{SpanId, TraceId};

/// Length of a version 0 `traceparent`: version, trace id, span id and flags, separated by dashes.
const LENGTH: usize = 2 + 1 + 32 + 1 + 16 + 1 + 2;

/// The span that a request belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace_id: TraceId,
    pub(super) span_id: SpanId,
    pub(super) is_sampled: bool,
}

impl Parent {
    /// Parses a `traceparent`; returns `None` if it is invalid. The standard requires starting a new trace
    /// then.
    pub(super) fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let (known, beyond) = header.as_bytes().split_at_checked(LENGTH)?;
        let version = parse_hex(&known[..2])?;
        let is_whole = match version {
            0 => beyond.is_empty(),
            0xff => false,
            _ => beyond.first().is_none_or(|next| *next == b'-'),
        };
        let has_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !is_whole || !has_dashes {
            return None;
        }
        let trace_id = TraceId::from(parse_hex(&known[3..35])?);
        let span_id = SpanId::from(parse_hex(&known[36..52])? as u64);
        let is_sampled = parse_hex(&known[53..])? & 1 == 1;
        let is_valid = trace_id != TraceId::INVALID && span_id != SpanId::INVALID;
        is_valid.then_some(Self { trace_id, span_id, is_sampled })
    }
}

/// Parses at most 32 lowercase hexadecimal digits.
fn parse_hex(digits: &[u8]) -> Option<u128> {
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
    fn valid_traceparent_is_parsed() {
        let parent = Parent::parse(&format!("00-{TRACE}-{SPAN}-01")).unwrap();
        assert_eq!(
            (TRACE, SPAN),
            (parent.trace_id.to_string().as_str(), parent.span_id.to_string().as_str())
        );
        assert!(parent.is_sampled);
        assert!(!Parent::parse(&format!("00-{TRACE}-{SPAN}-02")).unwrap().is_sampled);
        assert!(Parent::parse(&format!("01-{TRACE}-{SPAN}-03-more")).unwrap().is_sampled);
    }

    #[test]
    fn invalid_traceparent_is_rejected() {
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
            assert_eq!(None, Parent::parse(&bad), "{bad}");
        }
    }
}
