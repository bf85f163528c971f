//! What the index promises, against a reference that is too simple to be wrong.
#![allow(clippy::unwrap_used)] // in a test's own functions a panic is a failure, too

mod against_naive;
mod naive;
mod nonsense;
mod readers;
mod recut;
