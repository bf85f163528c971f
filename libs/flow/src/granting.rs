//! Which waiting requests go next.

mod band;
mod band_ceilings;
mod candidate;
mod credit;
mod granter;
mod heads;
mod order;
mod shares;
mod shortage;

pub use credit::Credit;
pub use granter::{Grant, Granter};
pub use shares::{BandShares, Served};
pub use shortage::Shortage;
