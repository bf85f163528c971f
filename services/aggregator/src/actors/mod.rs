//! The aggregator's actors: `Root`, and below it one `PoolOwner` per pool.

mod coordination;
mod pool_owner;
mod root;

pub(crate) use coordination::{Membership, OwnerHistory};
pub(crate) use pool_owner::PoolOwnerSetup;
pub(crate) use root::{Root, RootMessage};
