//! Whole files: those that the Go EPP ships, wrong ones, and anything at all.
#![allow(clippy::unwrap_used)]

mod anything;
mod mistakes;
mod samples;
mod support;
