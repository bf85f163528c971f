//! The aggregator's actors: Root, and under it one `PoolSteward` for each pool.

mod claims;
mod pool_owner;
mod root;

pub(crate) use claims::{Membership, Memory};
pub(crate) use pool_owner::{Message, PoolOwnerRef, Reported, Setup as StewardSetup};
pub(crate) use root::{Root, RootMessage};
