//! The aggregator's actors: `Root`, and below it one `PoolOwner` per pool.

mod coordination;
mod history_budget;
mod pool_owner;
mod root;
mod setups;

pub(crate) use coordination::{Membership, OwnerHistory};
pub(crate) use history_budget::HistoryBudget;
pub(crate) use root::{Root, RootMessage, RootSetup};
pub(crate) use setups::{PoolOwnerSetups, RoleSettings};
