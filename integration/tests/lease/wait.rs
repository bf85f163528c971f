//! Waits for the state of a coordinator.

use std::time::Duration;

use signalbox_lease::{Claim, ClaimError, ClaimRequest, Coordinator, Member, RegisteredOwner, Role, Session};
use signalbox_types::PoolId;
use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn pool() -> PoolId {
    PoolId { namespace: "default".to_owned(), name: "pool".to_owned() }
}

pub(crate) fn aggregator(name: &str) -> Member {
    let address = Some(format!("{name}:9200").parse().expect("a valid address"));
    Member { role: Role::Aggregator, name: name.to_owned(), address }
}

async fn wait_until<T: Clone + Send + Sync>(mut of: watch::Receiver<T>, is: impl FnMut(&T) -> bool) -> T {
    let value = tokio::time::timeout(DEADLINE, of.wait_for(is)).await;
    value.expect("the condition becomes true in time").expect("the coordinator is running").clone()
}

/// Waits until the registered aggregators have these names.
pub(crate) async fn wait_members(coordinator: &Coordinator, names: &[&str]) {
    let are =
        |members: &Vec<Member>| members.iter().map(|member| member.name.as_str()).eq(names.iter().copied());
    wait_until(coordinator.members(Role::Aggregator), are).await;
}

/// Waits until the aggregator `name` owns the pool, or nobody does. Returns the owner's epoch.
pub(crate) async fn wait_owner(coordinator: &Coordinator, name: Option<&str>) -> Option<u64> {
    let is = |owner: &RegisteredOwner| match (owner, name) {
        (RegisteredOwner::Owned(owner), Some(name)) => owner.name == name,
        (RegisteredOwner::Nobody, None) => true,
        _ => false,
    };
    match wait_until(coordinator.owner(&pool()), is).await {
        RegisteredOwner::Owned(owner) => Some(owner.epoch),
        RegisteredOwner::Unknown | RegisteredOwner::Nobody => None,
    }
}

/// Claims the pool until the coordinator decides; the session may not be registered yet.
pub(crate) async fn wait_claim(session: &Session, request: ClaimRequest) -> Result<Claim, ClaimError> {
    let decision = async {
        loop {
            match session.claim(&pool(), request).await {
                Err(ClaimError::Unavailable(_)) => tokio::task::yield_now().await,
                result => return result,
            }
        }
    };
    tokio::time::timeout(DEADLINE, decision).await.expect("the coordinator responds in time")
}

/// Claims the pool, which nobody else may own.
pub(crate) async fn wait_granted(session: &Session, above: u64) -> Claim {
    wait_claim(session, ClaimRequest { above, replacing: None }).await.expect("nobody else owns the pool")
}
