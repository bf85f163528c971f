//! Tests of the index against a reference model that is simple enough to be correct by inspection.
#![allow(clippy::unwrap_used)] // in helper functions of tests a panic is a failure too

mod capture;
mod concurrent_readers;
mod invalid_input;
mod matches_reference;
mod reference_model;
mod split_runs;
