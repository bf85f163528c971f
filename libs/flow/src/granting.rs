//! Which waiting requests go next.

mod band;
mod granter;
mod shares;

pub use granter::{Grant, Granter};
