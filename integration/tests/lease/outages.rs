//! What becomes of members and owners when etcd is away, or takes their leases.

use std::time::Instant;

use signalbox_integration::{Client, Etcd, Scratch};
use signalbox_lease::{ClaimError, Coordinator, Role, Session};

use crate::seen::{aggregator, granted, members, owner, pool};
use crate::{TTL, of};

/// An etcd, and two processes that use it; the session is the first one's.
struct Scene {
    scratch: Scratch,
    client: Client,
    etcd: Etcd,
    one: Coordinator,
    other: Coordinator,
    session: Session,
}

impl Scene {
    /// The session has the pool, and the other process knows.
    async fn new() -> anyhow::Result<(Self, u64)> {
        let (scratch, client) = (Scratch::new()?, Client::new());
        let etcd = Etcd::start(&scratch, &client).await?;
        let (one, other) = (of(&etcd), of(&etcd));
        let session = one.join(aggregator("a"), TTL);
        members(&other, &["a"]).await;
        let claim = granted(&session, 0).await;
        owner(&other, Some("a")).await;
        Ok((Self { scratch, client, etcd, one, other, session }, claim.epoch))
    }

    /// Claims until no claim has been answered for twice as long as a lease lasts that nobody renews; gives the last epoch granted.
    async fn outlast_the_lease(&self, mut epoch: u64) -> u64 {
        let mut answered = Instant::now();
        while answered.elapsed() < TTL * 2 {
            match self.session.claim(&pool(), 0).await {
                Ok(claim) => (answered, epoch) = (Instant::now(), claim.epoch),
                Err(ClaimError::Unavailable(_)) => tokio::task::yield_now().await,
                Err(ClaimError::Held(owner)) => panic!("{owner:?} has the pool"),
            }
        }
        epoch
    }

    /// The session is registered again, and keeps on being.
    async fn goes_on(&self, epoch: u64) {
        let claim = granted(&self.session, 0).await;
        // A claim may have been granted whose answer nobody heard.
        assert!(claim.epoch > epoch && claim.previous >= Some(epoch), "{claim:?}, {epoch} before");
        let later = self.other.join(aggregator("b"), TTL);
        members(&self.one, &["a", "b"]).await;
        members(&self.other, &["a", "b"]).await;
        drop(later);
        members(&self.one, &["a"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_is_started_again_finds_everybody_registered() {
    let (mut scene, epoch) = Scene::new().await.unwrap();
    scene.etcd.stop().await.unwrap();
    let epoch = scene.outlast_the_lease(epoch).await;
    members(&scene.other, &["a"]).await;
    owner(&scene.other, Some("a")).await;
    scene.etcd.start_again(&scene.scratch, &scene.client).await.unwrap();
    scene.goes_on(epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_lost_everything_is_told_it_again() {
    let (mut scene, _) = Scene::new().await.unwrap();
    let known = scene.other.members(Role::Aggregator);
    scene.etcd.kill().unwrap();
    std::fs::remove_dir_all(scene.scratch.path().join("etcd")).unwrap();
    scene.etcd.start_again(&scene.scratch, &scene.client).await.unwrap();
    owner(&scene.other, None).await;
    let claim = granted(&scene.session, 0).await;
    assert_eq!(None, claim.previous);
    owner(&scene.other, Some("a")).await;
    // It was never taken for dead.
    assert!(!known.has_changed().unwrap(), "{known:?}");
}

/// The leases run out while etcd stands still, so at first it holds nobody when it goes on.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_taken_for_dead_because_etcd_stood_still() {
    let (scene, epoch) = Scene::new().await.unwrap();
    let known = scene.other.members(Role::Aggregator);
    scene.etcd.pause().unwrap();
    // It may have answered still before it stood.
    let epoch = scene.outlast_the_lease(epoch).await;
    scene.etcd.resume().unwrap();
    owner(&scene.other, None).await;
    let claim = granted(&scene.session, 0).await;
    assert!(claim.epoch > epoch);
    assert_eq!(Some(claim.epoch), owner(&scene.other, Some("a")).await);
    assert!(!known.has_changed().unwrap(), "{known:?}");
    scene.goes_on(claim.epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_loses_the_lease_loses_the_pool_and_is_registered_again() {
    let (scene, epoch) = Scene::new().await.unwrap();
    scene.etcd.revoke_leases(&scene.client).await.unwrap();
    owner(&scene.other, None).await;
    scene.goes_on(epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_before_etcd_is_registered_when_it_is_there() {
    let (scratch, client) = (Scratch::new().unwrap(), Client::new());
    let mut etcd = Etcd::start(&scratch, &client).await.unwrap();
    etcd.stop().await.unwrap();
    let coordinator = of(&etcd);
    let session = coordinator.join(aggregator("a"), TTL);
    assert!(matches!(session.claim(&pool(), 0).await, Err(ClaimError::Unavailable(_))));
    assert_eq!(signalbox_lease::OwnerSeen::Unknown, *coordinator.owner(&pool()).borrow());
    etcd.start_again(&scratch, &client).await.unwrap();
    owner(&coordinator, None).await;
    granted(&session, 0).await;
}
