//! Tests the coordinator in Kubernetes when the API server fails, and what it writes.

use std::time::{Duration, Instant};

use serde_json::json;
use signalbox_lease::{ClaimError, ClaimRequest, Coordinator, RegisteredOwner, Role, Session};
use signalbox_types::PoolId;

use crate::TTL;
use crate::fake_api::{FakeApi, Mode, Store};
use crate::wait::{aggregator, pool, wait_claim, wait_granted, wait_members, wait_owner};

const MEMBER: &str = "signalbox.aggregator.a";
const POOL: &str = "signalbox.pool.default.pool";

/// An API server and two processes that use it. The session belongs to the first process.
struct Scene {
    api: FakeApi,
    one: Coordinator,
    other: Coordinator,
    session: Session,
}

impl Scene {
    /// Lets the session own the pool. Returns the owner's epoch.
    async fn new() -> (Self, u64) {
        let api = FakeApi::start().await.expect("a port is free");
        let (one, other) = (api.coordinator().await, api.coordinator().await);
        let session = one.join(aggregator("a"), TTL);
        wait_members(&other, &["a"]).await;
        let claim = wait_granted(&session, 0).await;
        wait_owner(&other, Some("a")).await;
        (Self { api, one, other, session }, claim.epoch)
    }

    /// Claims until no claim has succeeded for twice the TTL of a Lease.
    async fn wait_past_the_lease(&self) {
        let mut granted_at = Instant::now();
        while granted_at.elapsed() < TTL * 2 {
            match self.session.claim(&pool(), ClaimRequest::default()).await {
                Ok(_) => granted_at = Instant::now(),
                Err(ClaimError::Unavailable(_)) => tokio::task::yield_now().await,
                Err(ClaimError::Held(owner)) => panic!("{owner:?} owns the pool"),
            }
        }
    }

    /// Checks that the session is registered, and that members expire again.
    async fn check_registered(&self) {
        wait_granted(&self.session, 0).await;
        let later = self.other.join(aggregator("b"), TTL);
        wait_members(&self.one, &["a", "b"]).await;
        wait_members(&self.other, &["a", "b"]).await;
        drop(later);
        wait_members(&self.one, &["a"]).await;
        wait_members(&self.other, &["a"]).await;
    }
}

/// Waits until `is` holds for what is stored.
async fn wait_store(api: &FakeApi, mut is: impl FnMut(&Store) -> bool) {
    let holds = async {
        while !is(&api.store()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), holds).await.expect("the condition becomes true in time");
}

fn renewed(store: &Store, name: &str) -> Option<String> {
    store.object(name)?["spec"]["renewTime"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn api_server_that_is_away_removes_nobody() {
    for mode in [Mode::Hangs, Mode::Fails] {
        let (scene, _) = Scene::new().await;
        let known = scene.other.members(Role::Aggregator);
        scene.api.set_mode(mode);
        scene.wait_past_the_lease().await;
        let owner = scene.other.owner(&pool());
        let before = renewed(&scene.api.store(), MEMBER);
        scene.api.set_mode(Mode::Answers);
        wait_store(&scene.api, |store| renewed(store, MEMBER) != before).await;
        assert!(
            !known.has_changed().unwrap() && !owner.has_changed().unwrap(),
            "{mode:?} {known:?} {owner:?}"
        );
        scene.check_registered().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_register_again_after_all_leases_were_lost() {
    let (scene, _) = Scene::new().await;
    let known = scene.other.members(Role::Aggregator);
    scene.api.restore(Store::default());
    wait_owner(&scene.other, None).await;
    let claim = wait_granted(&scene.session, 0).await;
    assert_eq!(None, claim.previous);
    assert_eq!(Some(claim.epoch), wait_owner(&scene.other, Some("a")).await);
    assert!(!known.has_changed().unwrap(), "{known:?}");
    scene.check_registered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn epochs_increase_over_an_older_history() {
    let (scene, first) = Scene::new().await;
    let backup = scene.api.store();
    let second = wait_granted(&scene.session, first + 1_000).await;
    let b = scene.other.join(aggregator("b"), TTL);
    wait_members(&scene.one, &["a", "b"]).await;
    let known = scene.one.members(Role::Aggregator);
    scene.api.restore(backup);
    wait_store(&scene.api, |store| store.names().len() == 3).await;
    // The coordinator has forgotten the second epoch, but the claimant has not.
    let third = wait_granted(&scene.session, second.epoch).await;
    assert!(third.epoch > second.epoch && third.previous == Some(first), "{third:?}");
    wait_members(&scene.other, &["a", "b"]).await;
    assert!(!known.has_changed().unwrap(), "{known:?}");
    b.leave().await;
    scene.check_registered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_member_is_removed_although_the_watch_is_stuck() {
    let (scene, _) = Scene::new().await;
    scene.api.set_mode(Mode::MuteWatches);
    drop(scene.session);
    wait_members(&scene.other, &[]).await;
    wait_owner(&scene.other, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_api_server_keeps_the_living_and_removes_the_dead() {
    let api = FakeApi::start().await.unwrap();
    let ttl = Duration::from_secs(6);
    let (one, other, observer) = (api.coordinator().await, api.coordinator().await, api.coordinator().await);
    let (session, dead) = (one.join(aggregator("a"), ttl), other.join(aggregator("b"), ttl));
    wait_members(&observer, &["a", "b"]).await;
    let seen = observer.members(Role::Aggregator);
    api.set_mode(Mode::IsSlow);
    // Long enough for all of them to notice, and for a member to expire if it could.
    let mut last = renewed(&api.store(), MEMBER);
    let mut renewals = 0;
    wait_store(&api, |store| {
        let now = renewed(store, MEMBER);
        renewals += usize::from(std::mem::replace(&mut last, now.clone()) != now);
        renewals == 5
    })
    .await;
    assert!(!seen.has_changed().unwrap(), "{seen:?}");
    drop(dead);
    wait_members(&observer, &["a"]).await;
    wait_members(&one, &["a"]).await;
    wait_granted(&session, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn member_whose_lease_is_deleted_registers_again_at_once() {
    let api = FakeApi::start().await.unwrap();
    let coordinator = api.coordinator().await;
    // The next renewal is far away.
    let session = coordinator.join(aggregator("a"), Duration::from_secs(3_600));
    wait_granted(&session, 0).await;
    wait_owner(&coordinator, Some("a")).await;
    api.delete(MEMBER);
    wait_store(&api, |store| store.object(MEMBER).is_some()).await;
    wait_granted(&session, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_that_end_at_once_are_opened_ever_more_slowly() {
    let api = FakeApi::start().await.unwrap();
    let coordinator = api.coordinator().await;
    wait_owner(&coordinator, None).await;
    api.set_mode(Mode::EndsWatches);
    let before = api.store().lists;
    let started = Instant::now();
    wait_store(&api, |store| store.lists >= before + 14).await;
    // Seven delays that double from at least 50 ms; 100 ms each would be less.
    assert!(started.elapsed() > Duration::from_secs(1), "{:?}", started.elapsed());
    api.set_mode(Mode::Answers);
    let session = coordinator.join(aggregator("a"), TTL);
    wait_members(&coordinator, &["a"]).await;
    session.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_claims_do_not_flood_a_failing_api_server() {
    const POOLS: u64 = 100;
    let (scene, _) = Scene::new().await;
    let session = std::sync::Arc::new(scene.session);
    scene.api.set_mode(Mode::FailsForPools);
    let before = scene.api.store().about_pools;
    let claims: Vec<_> = (0..POOLS)
        .map(|number| {
            let pool = PoolId { namespace: "default".to_owned(), name: format!("pool-{number}") };
            let session = std::sync::Arc::clone(&session);
            tokio::spawn(async move {
                while session.claim(&pool, ClaimRequest::default()).await.is_err() {
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    // Renewals succeed meanwhile: each allows one more round of attempts.
    let last = renewed(&scene.api.store(), MEMBER);
    wait_store(&scene.api, |store| renewed(store, MEMBER) != last).await;
    let requests = scene.api.store().about_pools - before;
    assert!(requests < POOLS, "{requests} requests");
    scene.api.set_mode(Mode::Answers);
    for claim in claims {
        claim.await.expect("all pools are claimed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watch_that_is_too_old_is_opened_again() {
    let (scene, _) = Scene::new().await;
    scene.api.compact();
    scene.check_registered().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_member_takes_its_name_and_its_pool_at_once() {
    let (scene, epoch) = Scene::new().await;
    // The earlier run is still registered: nothing has told the API server that it died.
    let restarted = scene.other.join(aggregator("a"), TTL);
    let claim = wait_granted(&restarted, 0).await;
    assert_eq!(Some(epoch), claim.previous);
    assert_eq!(Some(claim.epoch), wait_owner(&scene.one, Some("a")).await);
    // Two processes with one name do not replace each other in turn.
    let request = ClaimRequest::default();
    while !matches!(scene.session.claim(&pool(), request).await, Err(ClaimError::Unavailable(_))) {
        tokio::task::yield_now().await;
    }
    let transitions =
        |store: &Store| store.object(MEMBER).map(|lease| lease["spec"]["leaseTransitions"].clone());
    assert_eq!(Some(json!(1)), transitions(&scene.api.store()));
    restarted.leave().await;
    let again = wait_granted(&scene.session, 0).await;
    assert_eq!(Some(claim.epoch), again.previous);
}

#[tokio::test(flavor = "multi_thread")]
async fn member_at_rest_writes_once_in_two_seconds_however_many_pools_it_owns() {
    let api = FakeApi::start().await.unwrap();
    let (one, other) = (api.coordinator().await, api.coordinator().await);
    let ttl = Duration::from_secs(6);
    let (session, standby) = (one.join(aggregator("a"), ttl), other.join(aggregator("b"), ttl));
    wait_members(&one, &["a", "b"]).await;
    // Others can see a member before it knows itself that it is registered.
    wait_granted(&session, 0).await;
    for number in 0..20 {
        let pool = PoolId { namespace: "default".to_owned(), name: format!("pool-{number}") };
        session.claim(&pool, ClaimRequest::default()).await.expect("nobody else owns the pool");
    }
    let (started, writes) = (Instant::now(), [one.api_writes(), other.api_writes()]);
    let stored = api.store().writes;
    let mut last = renewed(&api.store(), MEMBER);
    let mut renewals = 0;
    wait_store(&api, |store| {
        let now = renewed(store, MEMBER);
        renewals += usize::from(std::mem::replace(&mut last, now.clone()) != now);
        renewals == 4
    })
    .await;
    let most = started.elapsed().as_secs() / 2 + 1;
    let by_each = [one.api_writes() - writes[0], other.api_writes() - writes[1]];
    assert!(by_each.iter().all(|by| *by <= most), "{by_each:?} writes in {:?}", started.elapsed());
    assert!(api.store().writes - stored <= by_each.iter().sum(), "every write is counted");
    println!("{by_each:?} writes in {:?} by an owner of 20 pools and a standby", started.elapsed());
    session.leave().await;
    standby.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permission_is_named() {
    let (scene, _) = Scene::new().await;
    scene.api.set_mode(Mode::ForbidsWrites);
    let Err(ClaimError::Unavailable(reason)) = wait_refusal(&scene.session).await else {
        panic!("writes are forbidden")
    };
    assert!(reason.contains("verb update on leases") && reason.contains("namespace team"), "{reason}");
}

/// Claims until a claim fails.
async fn wait_refusal(session: &Session) -> Result<(), ClaimError> {
    loop {
        session.claim(&pool(), ClaimRequest::default()).await?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn installations_do_not_see_each_other() {
    let (scene, _) = Scene::new().await;
    let theirs = scene.api.installation("theirs").await;
    let session = theirs.join(aggregator("x"), TTL);
    wait_members(&theirs, &["x"]).await;
    assert_eq!(None, wait_granted(&session, 0).await.previous);
    wait_members(&scene.other, &["a"]).await;
    wait_owner(&scene.other, Some("a")).await;
    session.leave().await;
    wait_members(&theirs, &[]).await;
}

/// Starts an API server that stores the installation's Lease. Returns the Lease's identity too.
async fn installed() -> (FakeApi, serde_json::Value) {
    let api = FakeApi::start().await.expect("a port is free");
    let mut store = api.store();
    let labels = json!({"signalbox.dev/installation": "signalbox"});
    let lease = json!({"metadata": {"name": "signalbox", "labels": labels}, "spec": {}});
    let uid = store.create("signalbox", lease).expect("the name is free")["metadata"]["uid"].clone();
    api.restore(store);
    (api, uid)
}

/// Checks that these Leases depend on the Lease with this identity.
fn check_owners(store: &Store, names: &[&str], uid: &serde_json::Value) {
    for name in names {
        let owners = &store.object(name).expect("it is stored")["metadata"]["ownerReferences"];
        assert_eq!((&json!("Lease"), uid), (&owners[0]["kind"], &owners[0]["uid"]), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_deleted_with_the_lease_of_the_installation() {
    let (api, uid) = installed().await;
    let coordinator = api.coordinator().await;
    wait_owner(&coordinator, None).await;
    let session = coordinator.join(aggregator("a"), TTL);
    wait_granted(&session, 0).await;
    check_owners(&api.store(), &[MEMBER, POOL], &uid);
    session.leave().await;
    assert_eq!(["signalbox", POOL], api.store().names()[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn member_does_not_register_before_it_knows_the_lease_of_the_installation() {
    let (api, uid) = installed().await;
    api.set_mode(Mode::FailsLists);
    let coordinator = api.coordinator().await;
    let session = coordinator.join(aggregator("a"), TTL);
    wait_store(&api, |store| store.lists > 3).await;
    assert_eq!(["signalbox"], api.store().names()[..]);
    api.set_mode(Mode::Answers);
    wait_store(&api, |store| store.object(MEMBER).is_some()).await;
    check_owners(&api.store(), &[MEMBER], &uid);
    session.leave().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lease_of_somebody_else_is_not_overwritten() {
    let api = FakeApi::start().await.unwrap();
    let mut store = api.store();
    let foreign = json!({"metadata": {"name": POOL}, "spec": {"holderIdentity": "somebody"}});
    store.create(POOL, foreign).unwrap();
    api.restore(store);
    let coordinator = api.coordinator().await;
    let session = coordinator.join(aggregator("a"), TTL);
    wait_members(&coordinator, &["a"]).await;
    let other_pool = PoolId { namespace: "default".to_owned(), name: "other".to_owned() };
    while session.claim(&other_pool, ClaimRequest::default()).await.is_err() {
        tokio::task::yield_now().await;
    }
    let Err(ClaimError::Unavailable(reason)) = session.claim(&pool(), ClaimRequest::default()).await else {
        panic!("the Lease belongs to somebody else")
    };
    assert!(reason.contains(POOL) && reason.contains("--installation"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn owner_whose_lease_is_gone_is_replaced_by_a_plain_claim() {
    let (scene, epoch) = Scene::new().await;
    let b = scene.other.join(aggregator("b"), TTL);
    wait_members(&scene.one, &["a", "b"]).await;
    let refused = wait_claim(&b, ClaimRequest::default()).await;
    assert!(matches!(refused, Err(ClaimError::Held(owner)) if owner.epoch == epoch));
    drop(scene.session);
    let claim = async {
        loop {
            match b.claim(&pool(), ClaimRequest::default()).await {
                Ok(claim) => return claim,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let claim = tokio::time::timeout(Duration::from_secs(60), claim).await.expect("the Lease expires");
    assert_eq!(Some(epoch), claim.previous);
    assert!(matches!(
        *scene.one.owner(&pool()).borrow(),
        RegisteredOwner::Owned(_) | RegisteredOwner::Nobody
    ));
}
