//! A real server on a free port, spoken to over HTTP.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports, also outside of its function")]

mod adapters;
mod client;
mod faults;
mod serving;
