//! Why flow control refuses a request.

/// Why flow control refuses a request: it leaves the queue without an endpoint, or is revoked. Statuses and names are those of the Go EPP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// The pool is full, and so is the queue; or the request does not wait because its priority is negative.
    Saturated,
    /// The pool has had no endpoint for as long as a request waits for one, or the queue is full while it has none.
    NoEndpoints,
    /// The request has waited for as long as requests may.
    Expired,
    /// The client or the gateway has ended the request.
    Cancelled,
    /// The replica shuts down.
    ShuttingDown,
    /// The request was in flight, and gave up its place to a more important one.
    Revoked,
}

impl DropReason {
    /// Returns the HTTP status of the refusal.
    pub fn status(self) -> u16 {
        match self {
            Self::Saturated | Self::Expired | Self::Revoked => 429,
            Self::NoEndpoints | Self::Cancelled | Self::ShuttingDown => 503,
        }
    }

    /// Returns the value of the header `x-llm-d-request-dropped-reason`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Saturated => "rejected-saturated",
            Self::NoEndpoints => "rejected-no-endpoints",
            Self::Expired => "rejected-ttl-expired",
            Self::Cancelled => "rejected-context-cancelled",
            Self::ShuttingDown => "rejected-shutting-down",
            Self::Revoked => "evicted",
        }
    }
}
