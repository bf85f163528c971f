//! Which waiting requests go next.

mod band;
mod band_ceilings;
mod credit;
mod granter;
mod shares;

pub use granter::{Grant, Granter};
