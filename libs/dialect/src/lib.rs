//! What model servers say, read without building a tree of it.

pub mod metrics;
