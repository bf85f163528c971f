//! Which spans are wanted, as `OTEL_TRACES_SAMPLER` says.

use opentelemetry::trace::TraceId;

use super::parent::Parent;

/// What is shown of a trace id when a share of all traces is wanted: its last 63 bits.
const WHOLE: u64 = 1 << 63;

/// Which spans are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sampler {
    /// Whether a parent decides, where there is one.
    pub(super) heed: Heed,
    /// Of how many of `1 << 63` traces the spans are wanted, where no parent decides.
    pub(super) traces: u64,
}

/// Whether a parent decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heed {
    Parent,
    Nobody,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { heed: Heed::Parent, traces: WHOLE }
    }
}

impl Sampler {
    /// Wants spans of this share of all traces, from 0 to 1.
    pub(super) fn of_share(heed: Heed, share: f64) -> Self {
        Self { heed, traces: (share.clamp(0.0, 1.0) * WHOLE as f64) as u64 }
    }

    pub(super) fn wants(self, parent: Option<Parent>, trace_id: TraceId) -> bool {
        match (self.heed, parent) {
            (Heed::Parent, Some(parent)) => parent.is_sampled,
            _ => {
                let [.., a, b, c, d, e, f, g, h] = trace_id.to_bytes();
                u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < self.traces
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
    fn a_parent_decides_where_it_is_heeded() {
        let never = Sampler::of_share(Heed::Parent, 0.0);
        assert!(never.wants(parent(true), TraceId::from(u128::MAX)));
        assert!(!Sampler::default().wants(parent(false), TraceId::from(1)));
        assert!(!Sampler::of_share(Heed::Nobody, 0.0).wants(parent(true), TraceId::from(0)));
        assert!(Sampler::of_share(Heed::Nobody, 1.0).wants(parent(false), TraceId::from(u128::MAX)));
    }

    #[test]
    fn a_share_of_the_traces_is_wanted() {
        let half = Sampler::of_share(Heed::Parent, 0.5);
        assert!(half.wants(None, TraceId::from(u128::from(u64::MAX / 2))));
        assert!(!half.wants(None, TraceId::from(u128::from(u64::MAX / 2 + 1))));
    }
}
