//! What a coordinator promises. Each promise gets two that are the same coordinator, as two processes have it.

use std::pin::Pin;

use signalbox_lease::{ClaimError, Coordinator, OwnerSeen, Role};

use crate::TTL;
use crate::seen::{aggregator, claim, granted, members, owner, pool};

type Promise = fn([Coordinator; 2]) -> Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) const PROMISES: [(&str, Promise); 8] = [
    ("who joins is seen, and is gone at once when it leaves", |two| Box::pin(joins_and_leaves(two))),
    ("who dies is gone when its time is over", |two| Box::pin(dies(two))),
    ("epochs grow, whoever owns the pool", |two| Box::pin(epochs_grow(two))),
    ("a pool has one owner", |two| Box::pin(one_owner(two))),
    ("of two who claim at once one gets the pool", |two| Box::pin(two_claim_at_once(two))),
    ("the owner that leaves leaves its pools", |two| Box::pin(an_owner_leaves(two))),
    ("who has left claims nothing", |two| Box::pin(left_for_good(two))),
    ("a signal outlives who left it", |two| Box::pin(signals(two))),
];

async fn joins_and_leaves([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    members(&one, &["a", "b"]).await;
    members(&other, &["a", "b"]).await;
    assert_eq!(aggregator("a"), one.members(Role::Aggregator).borrow()[0]);
    assert!(one.members(Role::Collector).borrow().is_empty());
    a.leave().await;
    members(&other, &["b"]).await;
    b.leave().await;
    members(&one, &[]).await;
}

async fn dies([one, other]: [Coordinator; 2]) {
    let session = one.join(aggregator("a"), TTL);
    members(&other, &["a"]).await;
    let claim = granted(&session, 0).await;
    assert_eq!(Some(claim.epoch), owner(&other, Some("a")).await);
    drop(session);
    owner(&other, None).await;
    members(&other, &[]).await;
}

async fn epochs_grow([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let first = granted(&a, 0).await;
    assert_eq!(None, first.previous);
    let again = granted(&a, first.epoch + 1_000).await;
    assert!(again.epoch > first.epoch + 1_000);
    assert_eq!(Some(first.epoch), again.previous);
    a.release(&pool()).await.expect("the coordinator answers");
    owner(&other, None).await;
    let others = granted(&b, 0).await;
    assert!(others.epoch > again.epoch);
    assert_eq!(Some(again.epoch), others.previous);
}

async fn one_owner([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let own = granted(&a, 0).await;
    assert_eq!(Some(own.epoch), owner(&other, Some("a")).await);
    let Err(ClaimError::Held(held)) = claim(&b, 0).await else { panic!("the pool is a's") };
    assert_eq!(("a", own.epoch), (held.name.as_str(), held.epoch));
    // It is not b's to give up.
    b.release(&pool()).await.expect("the coordinator answers");
    assert!(matches!(claim(&b, 0).await, Err(ClaimError::Held(_))));
    let OwnerSeen::Owned(seen) = other.owner(&pool()).borrow().clone() else { panic!("it is owned") };
    assert_eq!("a:9200", seen.address.to_string());
}

async fn two_claim_at_once([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    members(&one, &["a", "b"]).await;
    let (by_a, by_b) = tokio::join!(claim(&a, 0), claim(&b, 0));
    assert!(by_a.is_ok() != by_b.is_ok(), "{by_a:?} {by_b:?}");
}

async fn an_owner_leaves([one, other]: [Coordinator; 2]) {
    let session = one.join(aggregator("a"), TTL);
    granted(&session, 0).await;
    owner(&other, Some("a")).await;
    session.leave().await;
    owner(&other, None).await;
}

async fn left_for_good([one, other]: [Coordinator; 2]) {
    let session = one.join(aggregator("a"), TTL);
    granted(&session, 0).await;
    session.leave().await;
    assert!(matches!(session.claim(&pool(), 0).await, Err(ClaimError::Unavailable(_))));
    owner(&other, None).await;
    // Nor does it take with it what is another's since.
    let next = other.join(aggregator("b"), TTL);
    let claim = granted(&next, 0).await;
    drop(session);
    assert!(matches!(next.claim(&pool(), 0).await, Ok(again) if again.previous == Some(claim.epoch)));
}

async fn signals([one, other]: [Coordinator; 2]) {
    assert_eq!(Ok(None), other.published(&pool()).await);
    one.publish(&pool(), "three replicas".into()).await.expect("the coordinator answers");
    assert_eq!(Ok(Some("three replicas".into())), other.published(&pool()).await);
}
