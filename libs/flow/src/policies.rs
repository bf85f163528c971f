//! The policies that can be chosen: how flows share, in which order requests go, and how full the pool may be.

mod ceilings;
mod fairness;
mod ordering;

pub use ceilings::Ceilings;
pub use fairness::Fairness;
pub use ordering::Ordering;
