//! The tests that every coordinator must pass. Each test gets two handles to the same coordinator, like two
//! processes.

use std::pin::Pin;

use signalbox_lease::{
    Claim, ClaimError, ClaimRequest, Coordinator, RegisteredOwner, Role, Session, StoreError,
};

use tokio::sync::watch;

use crate::TTL;
use crate::wait::{aggregator, pool, wait_claim, wait_granted, wait_members, wait_owner};

type Test = fn([Coordinator; 2]) -> Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) const TESTS: [(&str, Test); 15] = [
    ("member is listed after joining and removed after leaving", |two| {
        Box::pin(member_joins_and_leaves(two))
    }),
    ("dead member is removed after its TTL", |two| Box::pin(dead_member_is_removed(two))),
    ("stuck member is removed after its TTL, and registers again", |two| {
        Box::pin(stuck_member_is_removed(two))
    }),
    ("epochs increase across owners", |two| Box::pin(epochs_increase(two))),
    ("invented epoch does not raise the next one", |two| Box::pin(invented_epoch_is_ignored(two))),
    ("pool has one owner", |two| Box::pin(one_owner(two))),
    ("one of two concurrent claims succeeds", |two| Box::pin(one_concurrent_claim_succeeds(two))),
    ("leaving owner releases its pools", |two| Box::pin(leaving_owner_releases_pools(two))),
    ("member that left cannot claim", |two| Box::pin(left_member_cannot_claim(two))),
    ("claim replaces the owner whose epoch it names", |two| Box::pin(claim_replaces_owner(two))),
    ("claim that names another epoch is refused", |two| Box::pin(other_epoch_is_not_replaced(two))),
    ("replaced owner cannot release the pool", |two| Box::pin(replaced_owner_cannot_release(two))),
    ("one of two concurrent replacements succeeds", |two| Box::pin(one_replacement_succeeds(two))),
    ("signal outlives its owner", |two| Box::pin(signal_outlives_owner(two))),
    ("replaced owner cannot store a signal", |two| Box::pin(replaced_owner_cannot_store(two))),
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

async fn stuck_member_is_removed([one, other]: [Coordinator; 2]) {
    let (may_renew, gate) = watch::channel(true);
    let (a, b) = (one.join_while(aggregator("a"), TTL, gate), other.join(aggregator("b"), TTL));
    wait_members(&other, &["a", "b"]).await;
    let first = wait_granted(&a, 0).await;
    assert_eq!(Some(first.epoch), wait_owner(&other, Some("a")).await);
    may_renew.send_replace(false);
    wait_owner(&other, None).await;
    wait_members(&other, &["b"]).await;
    let second = wait_granted(&b, 0).await;
    assert!(second.epoch > first.epoch, "{first:?} {second:?}");
    may_renew.send_replace(true);
    wait_members(&other, &["a", "b"]).await;
    assert_eq!(Some(second.epoch), wait_owner(&one, Some("b")).await);
    let Err(ClaimError::Held(held)) = wait_claim(&a, ClaimRequest::default()).await else {
        panic!("b owns the pool")
    };
    assert_eq!(("b", second.epoch), (held.name.as_str(), held.epoch));
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

async fn invented_epoch_is_ignored([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let first = wait_granted(&a, u64::MAX).await;
    let again = wait_granted(&a, u64::MAX - 1).await;
    assert!(again.epoch > first.epoch && again.epoch < 1 << 42, "{first:?}, {again:?}");
    a.release(&pool()).await.expect("the coordinator responds");
    wait_owner(&other, None).await;
    assert!(wait_granted(&b, 0).await.epoch > again.epoch);
}

async fn one_owner([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let own = wait_granted(&a, 0).await;
    assert_eq!(Some(own.epoch), wait_owner(&other, Some("a")).await);
    let Err(ClaimError::Held(held)) = wait_claim(&b, ClaimRequest::default()).await else {
        panic!("a owns the pool")
    };
    assert_eq!(("a", own.epoch), (held.name.as_str(), held.epoch));
    // b cannot release the pool, because a owns it.
    b.release(&pool()).await.expect("the coordinator responds");
    assert!(matches!(wait_claim(&b, ClaimRequest::default()).await, Err(ClaimError::Held(_))));
    let RegisteredOwner::Owned(seen) = other.owner(&pool()).borrow().clone() else {
        panic!("the pool has no owner")
    };
    assert_eq!("a:9200", seen.address.to_string());
}

async fn one_concurrent_claim_succeeds([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    wait_members(&one, &["a", "b"]).await;
    let (by_a, by_b) =
        tokio::join!(wait_claim(&a, ClaimRequest::default()), wait_claim(&b, ClaimRequest::default()));
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
    assert!(matches!(session.claim(&pool(), ClaimRequest::default()).await, Err(ClaimError::Unavailable(_))));
    wait_owner(&other, None).await;
    // Dropping the old session does not affect the new owner.
    let next = other.join(aggregator("b"), TTL);
    let claim = wait_granted(&next, 0).await;
    drop(session);
    assert!(
        matches!(next.claim(&pool(), ClaimRequest::default()).await, Ok(again) if again.previous == Some(claim.epoch))
    );
}

fn replacing(epoch: u64) -> ClaimRequest {
    ClaimRequest { above: 0, replacing: Some(epoch) }
}

/// Lets `a` own the pool and `b` replace it. Returns both claims.
async fn replaced(a: &Session, b: &Session) -> (Claim, Claim) {
    let old = wait_granted(a, 0).await;
    let new = wait_claim(b, replacing(old.epoch)).await.expect("a's epoch is named");
    (old, new)
}

async fn claim_replaces_owner([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let (old, new) = replaced(&a, &b).await;
    assert!(new.epoch > old.epoch && new.previous == Some(old.epoch), "{old:?} {new:?}");
    for seen_by in [&one, &other] {
        assert_eq!(Some(new.epoch), wait_owner(seen_by, Some("b")).await);
    }
    // The replaced owner stays registered, and claims like any other member.
    wait_members(&other, &["a", "b"]).await;
    let Err(ClaimError::Held(held)) = wait_claim(&a, ClaimRequest::default()).await else {
        panic!("b owns the pool")
    };
    assert_eq!(("b", new.epoch), (held.name.as_str(), held.epoch));
}

async fn other_epoch_is_not_replaced([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let owned = wait_granted(&a, 0).await;
    for epoch in [owned.epoch - 1, owned.epoch + 1] {
        let Err(ClaimError::Held(held)) = wait_claim(&b, replacing(epoch)).await else {
            panic!("a owns the pool in another epoch than {epoch}")
        };
        assert_eq!(owned.epoch, held.epoch);
    }
    assert_eq!(Some(owned.epoch), wait_owner(&other, Some("a")).await);
    // A pool without an owner is granted, whoever owned it before.
    a.release(&pool()).await.expect("the coordinator responds");
    assert_eq!(Some(owned.epoch), wait_claim(&b, replacing(owned.epoch)).await.expect("free").previous);
}

async fn replaced_owner_cannot_release([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let (_, new) = replaced(&a, &b).await;
    a.release(&pool()).await.expect("the coordinator responds");
    a.leave().await;
    wait_members(&one, &["b"]).await;
    assert_eq!(Some(new.epoch), wait_owner(&one, Some("b")).await);
    let again = wait_granted(&b, 0).await;
    assert_eq!(Some(new.epoch), again.previous);
}

async fn one_replacement_succeeds([one, other]: [Coordinator; 2]) {
    let a = one.join(aggregator("a"), TTL);
    let (b, c) = (one.join(aggregator("b"), TTL), other.join(aggregator("c"), TTL));
    let owned = wait_granted(&a, 0).await;
    wait_members(&one, &["a", "b", "c"]).await;
    wait_members(&other, &["a", "b", "c"]).await;
    let request = replacing(owned.epoch);
    let (by_b, by_c) = tokio::join!(wait_claim(&b, request), wait_claim(&c, request));
    assert!(by_b.is_ok() != by_c.is_ok(), "{by_b:?} {by_c:?}");
}

async fn signal_outlives_owner([one, other]: [Coordinator; 2]) {
    assert_eq!(Ok(None), other.read_signal(&pool()).await);
    let session = one.join(aggregator("a"), TTL);
    let owned = wait_granted(&session, 0).await;
    one.store_signal(&pool(), owned.epoch, "three replicas".into()).await.expect("a owns the pool");
    session.leave().await;
    wait_owner(&other, None).await;
    assert_eq!(Ok(Some("three replicas".into())), other.read_signal(&pool()).await);
}

async fn replaced_owner_cannot_store([one, other]: [Coordinator; 2]) {
    let (a, b) = (one.join(aggregator("a"), TTL), other.join(aggregator("b"), TTL));
    let (old, new) = replaced(&a, &b).await;
    // Also before the new owner has stored anything.
    for stored in [None, Some("nine replicas".into())] {
        if let Some(signal) = stored.clone() {
            other.store_signal(&pool(), new.epoch, signal).await.expect("b owns the pool");
        }
        let outranked = one.store_signal(&pool(), old.epoch, "three replicas".into()).await;
        assert_eq!(Err(StoreError::Outranked(new.epoch)), outranked);
        assert_eq!(Ok(stored), one.read_signal(&pool()).await);
    }
    // The next epoch of the same owner outranks its earlier one.
    let again = wait_granted(&b, 0).await;
    other.store_signal(&pool(), again.epoch, "ten replicas".into()).await.expect("b owns the pool");
    let outranked = other.store_signal(&pool(), new.epoch, "nine replicas".into()).await;
    assert_eq!(Err(StoreError::Outranked(again.epoch)), outranked);
    assert_eq!(Ok(Some("ten replicas".into())), one.read_signal(&pool()).await);
}
