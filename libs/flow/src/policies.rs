//! The policies that can be chosen: how flows share, in which order requests go, and when the pool is full for
//! a band.

mod ceilings;
mod fairness;
mod ordering;

pub(crate) use ceilings::BandPosition;
pub use ceilings::Ceilings;
pub use fairness::Fairness;
pub use ordering::Ordering;
