//! Decides which spans are sampled, as `OTEL_TRACES_SAMPLER` configures.

use opentelemetry::trace::TraceId;

use super::traceparent::Parent;

/// Number of values of the last 63 bits of a trace id, which decide whether the trace is in the sampled
/// share.
const ALL_TRACES: u64 = 1 << 63;

/// Which spans are sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sampler {
    /// Whether a parent span decides, if there is one.
    pub(super) parent_rule: ParentRule,
    /// Number of traces out of `1 << 63` that are sampled if no parent decides.
    pub(super) sampled_traces: u64,
}

/// Whether a parent span decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParentRule {
    Follow,
    Ignore,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { parent_rule: ParentRule::Follow, sampled_traces: ALL_TRACES }
    }
}

impl Sampler {
    /// Returns a sampler for a share of all traces, from 0 to 1.
    pub(super) fn of_share(parent_rule: ParentRule, share: f64) -> Self {
        Self { parent_rule, sampled_traces: (share.clamp(0.0, 1.0) * ALL_TRACES as f64) as u64 }
    }

    /// Returns whether a span of this trace is sampled.
    pub(super) fn samples(self, parent: Option<Parent>, trace_id: TraceId) -> bool {
        match (self.parent_rule, parent) {
            (ParentRule::Follow, Some(parent)) => parent.is_sampled,
            _ => {
                let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.sampled_traces
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::SpanId;

    use super::*;

    fn parent(is_sampled: bool) -> Option<Parent> {
        Some(Parent { trace_id: TraceId::from(1), span_id: SpanId::from(1), is_sampled })
    }

    #[test]
    fn parent_decides_unless_it_is_ignored() {
        let never = Sampler::of_share(ParentRule::Follow, 0.0);
        assert!(never.samples(parent(true), TraceId::from(u128::MAX)));
        assert!(!Sampler::default().samples(parent(false), TraceId::from(1)));
        assert!(!Sampler::of_share(ParentRule::Ignore, 0.0).samples(parent(true), TraceId::from(0)));
        assert!(Sampler::of_share(ParentRule::Ignore, 1.0).samples(parent(false), TraceId::from(u128::MAX)));
    }

    #[test]
    fn share_selects_by_trace_id() {
        let half = Sampler::of_share(ParentRule::Follow, 0.5);
        assert!(half.samples(None, TraceId::from(u128::from(u64::MAX / 2))));
        assert!(!half.samples(None, TraceId::from(u128::from(u64::MAX / 2 + 1))));
    }
}
