//! Parses what model servers report about themselves.

pub mod metrics;
