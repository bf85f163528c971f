//! The tests that every coordinator must pass. Each test gets two handles to the same coordinator, like two
//! processes.

use std::pin::Pin;

use signalbox_lease::{ClaimError, Coordinator, RegisteredOwner, Role};

use crate::TTL;
use crate::wait::{aggregator, pool, wait_claim, wait_granted, wait_members, wait_owner};

type Test = fn([Coordinator; 2]) -> Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) const TESTS: [(&str, Test); 8] = [
    ("member is listed after joining and removed after leaving", |two| {
        Box::pin(member_joins_and_leaves(two))
    }),
    ("dead member is removed after its TTL", |two| Box::pin(dead_member_is_removed(two))),
    ("epochs increase across owners", |two| Box::pin(epochs_increase(two))),
    ("pool has one owner", |two| Box::pin(one_owner(two))),
    ("one of two concurrent claims succeeds", |two| Box::pin(one_concurrent_claim_succeeds(two))),
    ("leaving owner releases its pools", |two| Box::pin(leaving_owner_releases_pools(two))),
    ("member that left cannot claim", |two| Box::pin(left_member_cannot_claim(two))),
    ("signal outlives its publisher", |two| Box::pin(signal_outlives_publisher(two))),
];

async fn member_joins_and_leaves([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    wait_members(&one, &["a", "b"]).await;
    wait_members(&other, &["a", "b"]).await;
    assert_eq!(aggregator("a"), one.members(Role::Aggregator).borrow()[0]);
    assert!(one.members(Role::Collector).borrow().is_empty());
    a.leave().await;
    wait_members(&other, &["b"]).await;
    b.leave().await;
    wait_members(&one, &[]).await;
}

async fn dead_member_is_removed([one, other]: [Coordinator; 2]) {
    let session = one.join(aggregator("a"), TTL);
    wait_members(&other, &["a"]).await;
    let claim = wait_granted(&session, 0).await;
    assert_eq!(Some(claim.epoch), wait_owner(&other, Some("a")).await);
    drop(session);
    wait_owner(&other, None).await;
    wait_members(&other, &[]).await;
}

async fn epochs_increase([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let first = wait_granted(&a, 0).await;
    assert_eq!(None, first.previous);
    let again = wait_granted(&a, first.epoch + 1_000).await;
    assert!(again.epoch > first.epoch + 1_000);
    assert_eq!(Some(first.epoch), again.previous);
    a.release(&pool()).await.expect("the coordinator responds");
    wait_owner(&other, None).await;
    let others = wait_granted(&b, 0).await;
    assert!(others.epoch > again.epoch);
    assert_eq!(Some(again.epoch), others.previous);
}

async fn one_owner([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let own = wait_granted(&a, 0).await;
    assert_eq!(Some(own.epoch), wait_owner(&other, Some("a")).await);
    let Err(ClaimError::Held(held)) = wait_claim(&b, 0).await else { panic!("a owns the pool") };
    assert_eq!(("a", own.epoch), (held.name.as_str(), held.epoch));
    // b cannot release the pool, because a owns it.
    b.release(&pool()).await.expect("the coordinator responds");
    assert!(matches!(wait_claim(&b, 0).await, Err(ClaimError::Held(_))));
    let RegisteredOwner::Owned(seen) = other.owner(&pool()).borrow().clone() else {
        panic!("the pool has no owner")
    };
    assert_eq!("a:9200", seen.address.to_string());
}

async fn one_concurrent_claim_succeeds([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    wait_members(&one, &["a", "b"]).await;
    let (by_a, by_b) = tokio::join!(wait_claim(&a, 0), wait_claim(&b, 0));
    assert!(by_a.is_ok() != by_b.is_ok(), "{by_a:?} {by_b:?}");
}

async fn leaving_owner_releases_pools([one, other]: [Coordinator; 2]) {
    let session = one.join(aggregator("a"), TTL);
    wait_granted(&session, 0).await;
    wait_owner(&other, Some("a")).await;
    session.leave().await;
    wait_owner(&other, None).await;
}

async fn left_member_cannot_claim([one, other]: [Coordinator; 2]) {
    let session = one.join(aggregator("a"), TTL);
    wait_granted(&session, 0).await;
    session.leave().await;
    assert!(matches!(session.claim(&pool(), 0).await, Err(ClaimError::Unavailable(_))));
    wait_owner(&other, None).await;
    // Dropping the old session does not affect the new owner.
    let next = other.join(aggregator("b"), TTL);
    let claim = wait_granted(&next, 0).await;
    drop(session);
    assert!(matches!(next.claim(&pool(), 0).await, Ok(again) if again.previous == Some(claim.epoch)));
}

async fn signal_outlives_publisher([one, other]: [Coordinator; 2]) {
    assert_eq!(Ok(None), other.read_signal(&pool()).await);
    one.publish_signal(&pool(), "three replicas".into()).await.expect("the coordinator responds");
    assert_eq!(Ok(Some("three replicas".into())), other.read_signal(&pool()).await);
}
