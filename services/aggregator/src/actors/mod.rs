//! The aggregator's actors: Root, and under it one `PoolSteward` for each pool.

mod claims;
mod pool_steward;
mod root;

pub(crate) use claims::{Membership, Memory};
pub(crate) use pool_steward::{Message, Reported, Setup as StewardSetup, StewardRef};
pub(crate) use root::{Root, RootMessage};
