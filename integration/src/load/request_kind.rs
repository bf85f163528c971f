//! What requests ask for, and whether they get it.

use anyhow::ensure;
use bytes::Bytes;
use serde_json::json;

use super::tier::Tier;
use crate::http::{MODEL, Response};

/// How many different prefixes the prompts have.
const PREFIXES: u64 = 12;

/// How many words the prompts with the same prefix share: some thirty blocks.
const PREFIX_WORDS: u64 = 1_500;

/// How many words those of requests in tiers share, and how many are their own: some 2,000 tokens, so that each costs the
/// same, wherever it goes.
const TIER_PREFIX_WORDS: u64 = 300;
const TIER_OWN_WORDS: u64 = 1_600;

/// The kind of response that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// One short document.
    Document,
    /// A stream of 60 tokens.
    Stream,
    /// A stream of 400 tokens, about 13 s.
    LongStream,
}

impl RequestKind {
    /// Returns the kind of a request: half of them are documents, four of ten are streams, one of ten is a
    /// long stream.
    pub(super) fn of(number: u64) -> Self {
        match number % 10 {
            0 => Self::LongStream,
            number if number % 2 == 0 => Self::Stream,
            _ => Self::Document,
        }
    }

    fn max_tokens(self) -> u64 {
        match self {
            Self::Document => 8,
            Self::Stream => 60,
            Self::LongStream => 400,
        }
    }

    pub(super) fn body(self, number: u64, tier: Option<Tier>) -> Bytes {
        let (shared, own) = tier.map_or((PREFIX_WORDS, 0), |_| (TIER_PREFIX_WORDS, TIER_OWN_WORDS));
        let prefix: String =
            (0..shared).map(|word| format!("{:x} ", word * 31 + number % PREFIXES)).collect();
        let own: String =
            (0..own).map(|word| format!("{:04x} ", (word * 31 + number * 977) & 0xffff)).collect();
        let prompt = format!("{prefix}{own} and this is number {number}");
        let stream = self != Self::Document;
        let body =
            json!({ "model": MODEL, "prompt": prompt, "max_tokens": self.max_tokens(), "stream": stream });
        body.to_string().into()
    }

    /// Checks that the response is complete.
    pub(super) fn check(self, response: Response) -> anyhow::Result<()> {
        let response = response.ok()?;
        if self == Self::Document {
            let tokens = response.json()?["usage"]["completion_tokens"].as_u64();
            ensure!(tokens == Some(self.max_tokens()), "{tokens:?} of {} tokens", self.max_tokens());
        } else {
            response.events()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::{RequestKind, TIER_OWN_WORDS, Tier};
    use crate::http::Response;

    fn response(body: &'static str) -> Response {
        Response { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into() }
    }

    #[test]
    fn incomplete_responses_are_detected() {
        assert!(RequestKind::Stream.check(response("data: {}\n\ndata: [DONE]\n\n")).is_ok());
        assert!(RequestKind::Stream.check(response("data: {}\n\n")).is_err());
        assert!(RequestKind::Document.check(response(r#"{"usage":{"completion_tokens":8}}"#)).is_ok());
        assert!(RequestKind::Document.check(response(r#"{"usage":{"completion_tokens":7}}"#)).is_err());
        let refused = Response { status: StatusCode::SERVICE_UNAVAILABLE, ..response("") };
        assert!(RequestKind::Document.check(refused).is_err());
    }

    #[test]
    fn prompts_in_tiers_cost_the_same_whatever_was_sent_before() {
        let body = |number| RequestKind::Document.body(number, Some(Tier::Critical));
        let bytes: Vec<usize> = [0, 12, 1_200, 60_000].map(|number| body(number).len()).into();
        assert!(bytes.iter().all(|len| len.abs_diff(bytes[0]) < 10), "{bytes:?}");
        let own_bytes = TIER_OWN_WORDS as usize * 5;
        let (one, other) = (body(12), body(24));
        let common = one.iter().zip(&other[..]).take_while(|(one, other)| one == other).count();
        assert!(common < bytes[0] - own_bytes, "{common} of {bytes:?}");
    }

    #[test]
    fn each_tier_asks_for_each_kind_of_response() {
        let has =
            |tier, kind| (0..70).any(|number| (Tier::of(number), RequestKind::of(number)) == (tier, kind));
        for tier in [Tier::Critical, Tier::Standard, Tier::Sheddable] {
            for kind in [RequestKind::Document, RequestKind::Stream, RequestKind::LongStream] {
                assert!(has(tier, kind), "{tier} {kind:?}");
            }
        }
    }

    #[test]
    fn prompts_with_the_same_prefix_differ_only_at_the_end() {
        let text = |number| String::from_utf8(RequestKind::Document.body(number, None).to_vec()).unwrap();
        let common = |one: &str, other: &str| {
            one.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count()
        };
        assert!(common(&text(1), &text(13)) > 6_000);
        assert!(common(&text(1), &text(3)) < 100);
    }
}
