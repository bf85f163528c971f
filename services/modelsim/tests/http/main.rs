//! Tests of a real server over HTTP.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports, also in helper functions")]

mod adapters;
mod client;
mod faults;
mod responses;
mod serving;
