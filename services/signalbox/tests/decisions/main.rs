//! Tests of how an EPP replica records and traces decisions.
#![allow(clippy::unwrap_used)]

mod otlp_collector;
mod recordings;
mod replica;
mod tracing;
mod waiting;
