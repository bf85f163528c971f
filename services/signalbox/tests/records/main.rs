//! What is kept of decisions, and told of them.
#![allow(clippy::unwrap_used)]

mod decisions;
mod receiver;
mod replica;
mod traces;
