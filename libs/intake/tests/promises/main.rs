//! What is read of requests and answers, and what is refused.
#![allow(clippy::unwrap_used)] // in a test, a panic is the message

mod allocations;
mod answers;
mod apis;
mod mutated;
mod parse;
mod proto;
mod renames;
