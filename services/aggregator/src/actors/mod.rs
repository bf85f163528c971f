//! The aggregator's actors: Root, and under it one `PoolOwner`.

mod pool_owner;
mod root;

pub(crate) use pool_owner::{Answer, Ask, Message, OwnerRef, Want};
pub(crate) use root::{Root, RootMessage, RootSetup};
