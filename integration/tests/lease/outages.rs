//! Tests registrations and ownership when etcd is down or revokes leases.

use std::time::Instant;

use signalbox_integration::{Client, Etcd, TestDir};
use signalbox_lease::{ClaimError, ClaimRequest, Coordinator, Role, Session};

use crate::wait::{aggregator, pool, wait_granted, wait_members, wait_owner};
use crate::{TTL, coordinator};

/// An etcd and two processes that use it. The session belongs to the first process.
struct Scene {
    dir: TestDir,
    client: Client,
    etcd: Etcd,
    one: Coordinator,
    other: Coordinator,
    session: Session,
}

impl Scene {
    /// Starts etcd and lets the session own the pool. Returns the owner's epoch.
    async fn new() -> anyhow::Result<(Self, u64)> {
        let (dir, client) = (TestDir::new()?, Client::new());
        let etcd = Etcd::start(&dir, &client).await?;
        let (one, other) = (coordinator(&etcd), coordinator(&etcd));
        let session = one.join(aggregator("a"), TTL);
        wait_members(&other, &["a"]).await;
        let claim = wait_granted(&session, 0).await;
        wait_owner(&other, Some("a")).await;
        Ok((Self { dir, client, etcd, one, other, session }, claim.epoch))
    }

    /// Claims until no claim has succeeded for twice the TTL of a lease. Returns the last granted epoch.
    async fn wait_past_the_lease(&self, mut epoch: u64) -> u64 {
        let mut granted_at = Instant::now();
        while granted_at.elapsed() < TTL * 2 {
            match self.session.claim(&pool(), ClaimRequest::default()).await {
                Ok(claim) => (granted_at, epoch) = (Instant::now(), claim.epoch),
                Err(ClaimError::Unavailable(_)) => tokio::task::yield_now().await,
                Err(ClaimError::Held(owner)) => panic!("{owner:?} owns the pool"),
            }
        }
        epoch
    }

    /// Checks that the session is registered again and stays registered.
    async fn check_registered(&self, epoch: u64) {
        let claim = wait_granted(&self.session, 0).await;
        // etcd may have granted a claim whose response was lost.
        assert!(claim.epoch > epoch && claim.previous >= Some(epoch), "{claim:?}, {epoch} before");
        let later = self.other.join(aggregator("b"), TTL);
        wait_members(&self.one, &["a", "b"]).await;
        wait_members(&self.other, &["a", "b"]).await;
        drop(later);
        wait_members(&self.one, &["a"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_survive_a_restart_of_etcd() {
    let (mut scene, epoch) = Scene::new().await.unwrap();
    scene.etcd.stop().await.unwrap();
    let epoch = scene.wait_past_the_lease(epoch).await;
    wait_members(&scene.other, &["a"]).await;
    wait_owner(&scene.other, Some("a")).await;
    scene.etcd.restart(&scene.dir, &scene.client).await.unwrap();
    scene.check_registered(epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_register_again_after_etcd_lost_its_data() {
    let (mut scene, _) = Scene::new().await.unwrap();
    let known = scene.other.members(Role::Aggregator);
    scene.etcd.kill().unwrap();
    std::fs::remove_dir_all(scene.dir.path().join("etcd")).unwrap();
    scene.etcd.restart(&scene.dir, &scene.client).await.unwrap();
    wait_owner(&scene.other, None).await;
    let claim = wait_granted(&scene.session, 0).await;
    assert_eq!(None, claim.previous);
    wait_owner(&scene.other, Some("a")).await;
    // The member list never changed.
    assert!(!known.has_changed().unwrap(), "{known:?}");
}

/// The leases expire during the pause, so that etcd has no members at first when it resumes.
#[tokio::test(flavor = "multi_thread")]
async fn pause_of_etcd_does_not_remove_members() {
    let (scene, epoch) = Scene::new().await.unwrap();
    let known = scene.other.members(Role::Aggregator);
    scene.etcd.pause().unwrap();
    // etcd may have granted a claim just before the pause.
    let epoch = scene.wait_past_the_lease(epoch).await;
    scene.etcd.resume().unwrap();
    wait_owner(&scene.other, None).await;
    let claim = wait_granted(&scene.session, 0).await;
    assert!(claim.epoch > epoch);
    assert_eq!(Some(claim.epoch), wait_owner(&scene.other, Some("a")).await);
    assert!(!known.has_changed().unwrap(), "{known:?}");
    scene.check_registered(claim.epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn revoked_lease_loses_the_pool_and_is_registered_again() {
    let (scene, epoch) = Scene::new().await.unwrap();
    scene.etcd.revoke_leases(&scene.client).await.unwrap();
    wait_owner(&scene.other, None).await;
    scene.check_registered(epoch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn session_registers_when_etcd_starts_later() {
    let (dir, client) = (TestDir::new().unwrap(), Client::new());
    let mut etcd = Etcd::start(&dir, &client).await.unwrap();
    etcd.stop().await.unwrap();
    let coordinator = coordinator(&etcd);
    let session = coordinator.join(aggregator("a"), TTL);
    assert!(matches!(session.claim(&pool(), ClaimRequest::default()).await, Err(ClaimError::Unavailable(_))));
    assert_eq!(signalbox_lease::RegisteredOwner::Unknown, *coordinator.owner(&pool()).borrow());
    etcd.restart(&dir, &client).await.unwrap();
    wait_owner(&coordinator, None).await;
    wait_granted(&session, 0).await;
}
