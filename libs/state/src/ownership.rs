//! Decides which aggregator owns a pool, and hands the pool over.

mod election;
mod followers;
mod late_inheritance;
mod pool_role;
mod takeover;

pub use self::election::{ClaimResult, ObservedOwner};
pub use self::pool_role::{
    BeyondHistory, FollowerPoll, OwnedHistory, PollReply, PollWait, PollWant, PoolRole, PoolRoleConfig,
    RoleEffect, RoleInput, RoleStatus,
};
