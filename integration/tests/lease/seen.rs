//! What is waited for.

use std::time::Duration;

use signalbox_lease::{Claim, ClaimError, Coordinator, Member, OwnerSeen, Role, Session};
use signalbox_types::PoolId;
use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(60);

pub(crate) fn pool() -> PoolId {
    PoolId { namespace: "default".to_owned(), name: "pool".to_owned() }
}

pub(crate) fn aggregator(name: &str) -> Member {
    let address = Some(format!("{name}:9200").parse().expect("it is an address"));
    Member { role: Role::Aggregator, name: name.to_owned(), address }
}

async fn until<T: Clone + Send + Sync>(mut of: watch::Receiver<T>, is: impl FnMut(&T) -> bool) -> T {
    let seen = tokio::time::timeout(DEADLINE, of.wait_for(is)).await;
    seen.expect("it is seen in time").expect("the coordinator lives").clone()
}

/// Waits until these are the aggregators.
pub(crate) async fn members(coordinator: &Coordinator, names: &[&str]) {
    let are =
        |members: &Vec<Member>| members.iter().map(|member| member.name.as_str()).eq(names.iter().copied());
    until(coordinator.members(Role::Aggregator), are).await;
}

/// Waits until somebody owns the pool, or nobody does.
pub(crate) async fn owner(coordinator: &Coordinator, name: Option<&str>) -> Option<u64> {
    let is = |seen: &OwnerSeen| match (seen, name) {
        (OwnerSeen::Owned(owner), Some(name)) => owner.name == name,
        (OwnerSeen::Nobody, None) => true,
        _ => false,
    };
    match until(coordinator.owner(&pool()), is).await {
        OwnerSeen::Owned(owner) => Some(owner.epoch),
        OwnerSeen::Unknown | OwnerSeen::Nobody => None,
    }
}

/// Claims until the coordinator answers: a session may not be registered yet.
pub(crate) async fn claim(session: &Session, above: u64) -> Result<Claim, ClaimError> {
    let asked = async {
        loop {
            match session.claim(&pool(), above).await {
                Err(ClaimError::Unavailable(_)) => tokio::task::yield_now().await,
                answered => return answered,
            }
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("the coordinator answers in time")
}

pub(crate) async fn granted(session: &Session, above: u64) -> Claim {
    claim(session, above).await.expect("nobody else has the pool")
}
