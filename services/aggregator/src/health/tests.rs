//! Tests with an actor that is stuck.

use ractor::Actor;
use signalbox_lease::{Claim, ClaimRequest, Member, Role, Session};
use signalbox_telemetry::registry;
use tokio::time::timeout;

use super::*;
use crate::pools::{PoolOwnerMessage, PoolOwnerRef};

const TTL: Duration = Duration::from_millis(200);

const DEADLINE: Duration = Duration::from_secs(60);

/// An actor that never records progress.
struct Stuck;

impl Actor for Stuck {
    type Msg = PoolOwnerMessage;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: PoolOwnerRef, (): ()) -> Result<(), ractor::ActorProcessingErr> {
        Ok(())
    }
}

/// An aggregator with one pool.
struct Stalling {
    coordinator: Coordinator,
    session: Session,
    pools: Pools,
    pool: Arc<PoolHandle>,
    metrics: Arc<Metrics>,
}

fn member(name: &str) -> Member {
    Member { role: Role::Aggregator, name: name.to_owned(), address: Some("a:1".parse().unwrap()) }
}

impl Stalling {
    async fn start() -> Self {
        let (coordinator, pools) = (Coordinator::in_process(), Pools::default());
        let pool = PoolId { namespace: "n".to_owned(), name: "p".to_owned() };
        let pool = Arc::new(PoolHandle::new(pool, Duration::ZERO));
        pool.actor.send_replace(Some(Actor::spawn(None, Stuck, ()).await.unwrap().0));
        pools.insert(Arc::clone(&pool));
        let (may_renew, gate) = watch::channel(true);
        let session = coordinator.join_while(member("a"), TTL, gate);
        let metrics = Arc::new(Metrics::register(&mut registry("aggregator")));
        let stall_watch = StallWatch {
            pools: pools.clone(),
            coordinator: coordinator.clone(),
            name: "a".to_owned(),
            metrics: Arc::clone(&metrics),
            may_renew,
        };
        tokio::spawn(stall_watch.run());
        Self { coordinator, session, pools, pool, metrics }
    }

    async fn claim(&self, session: &Session) -> Claim {
        session.claim(&self.pool.pool, ClaimRequest::default()).await.unwrap()
    }

    /// Waits until these aggregators are registered.
    async fn wait_members(&self, names: &[&str]) {
        let mut members = self.coordinator.members(Role::Aggregator);
        let are = |members: &Vec<Member>| {
            members.iter().map(|member| member.name.as_str()).eq(names.iter().copied())
        };
        timeout(DEADLINE, members.wait_for(are)).await.expect("in time").unwrap();
    }
}

#[tokio::test]
async fn stuck_owner_loses_its_lease_until_another_owns_the_pool() {
    let stalling = Stalling::start().await;
    let first = stalling.claim(&stalling.session).await;
    stalling.pool.set_status(RoleStatus::Owner(first.epoch));
    assert_eq!(Ok(()), check(&stalling.pools));
    stalling.wait_members(&[]).await;
    let reason = check(&stalling.pools).unwrap_err();
    assert!(reason.starts_with("pool n/p: its actor has made no progress for "), "{reason}");
    assert_eq!(RegisteredOwner::Nobody, *stalling.coordinator.owner(&stalling.pool.pool).borrow());
    assert_eq!(1, stalling.metrics.lease_withheld.get());
    let other = stalling.coordinator.join(member("b"), TTL);
    let second = stalling.claim(&other).await;
    assert!(second.epoch > first.epoch);
    // It does not keep the pool any more, and other pools are not to suffer.
    stalling.wait_members(&["a", "b"]).await;
    assert!(check(&stalling.pools).is_err(), "the actor is still stuck");
}

#[tokio::test]
async fn owner_that_goes_on_registers_again() {
    let stalling = Stalling::start().await;
    stalling.pool.set_status(RoleStatus::TakingOver(stalling.claim(&stalling.session).await.epoch));
    stalling.wait_members(&[]).await;
    let until_registered = stalling.wait_members(&["a"]);
    let keep_going = async {
        loop {
            stalling.pool.progress.record();
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    };
    tokio::select! {
        () = until_registered => {}
        () = keep_going => {}
    }
    assert_eq!(Ok(()), check(&stalling.pools));
}

#[tokio::test]
async fn stuck_standby_is_not_healthy_but_stays_registered() {
    let stalling = Stalling::start().await;
    let until_stalled = async {
        while check(&stalling.pools).is_ok() {
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
    };
    timeout(DEADLINE, until_stalled).await.expect("in time");
    let members = stalling.coordinator.members(Role::Aggregator);
    let mut lost = members.clone();
    let is_lost = timeout(3 * TTL, lost.wait_for(Vec::is_empty)).await;
    assert!(is_lost.is_err() && members.borrow().len() == 1);
    stalling.pool.actor.send_replace(None);
    assert_eq!(Ok(()), check(&stalling.pools), "the actor is being restarted");
}
