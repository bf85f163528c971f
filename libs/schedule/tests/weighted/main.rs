//! What the weighted policy is held to: each plugin against figures worked by hand from the Go EPP's formulas.
#![allow(clippy::unwrap_used)]

mod allocations;
mod filters;
mod policy;
mod scene;
mod scorers;
