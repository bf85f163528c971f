//! Tests of the weighted policy: each plugin against values computed by hand from the Go EPP's formulas.
#![allow(clippy::unwrap_used)]

mod allocations;
mod draining;
mod filters;
mod overflow;
mod policy;
mod ranking;
mod scorers;
mod test_pool;
