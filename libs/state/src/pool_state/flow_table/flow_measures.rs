//! What the owner measures while requests wait.

/// How fast granted requests leave the queues of all replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainRate {
    /// Thousandths of requests per second.
    pub milli_requests_per_second: u64,
    /// Tokens per second: uncached prompt tokens and expected output tokens.
    pub tokens_per_second: u64,
}

/// What the owner measures while requests wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowMeasures {
    /// The pool's saturation in thousandths.
    pub saturation_milli: u32,
    /// How fast requests leave the queues.
    pub drain_rate: DrainRate,
    /// By which factor prefill rates are higher than what was measured or is assumed at first, in thousandths, because the
    /// engines' pages show it; 0 if they are not. Not part of the digest, because older releases do not know it.
    pub assumed_speed_milli: u32,
}

impl DrainRate {
    /// Returns requests per second.
    pub fn requests_per_second(self) -> f64 {
        self.milli_requests_per_second as f64 / 1e3
    }
}

impl FlowMeasures {
    /// Returns the pool's saturation: 0 is idle, 1 is full.
    pub fn saturation(self) -> f64 {
        f64::from(self.saturation_milli) / 1e3
    }
}
