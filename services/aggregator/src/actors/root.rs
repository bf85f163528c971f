//! `Root`: runs one `PoolOwner` per pool, as pools come and go. An actor that failed is replaced by an empty
//! one, which takes the pool's state over from its followers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use signalbox_actors::{
    BackoffPolicy, ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit,
};
use signalbox_state::RoleStatus;
use signalbox_types::{PoolId, PoolSpec};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::coordination;
use super::pool_owner::{PoolOwner, PoolOwnerSetup};
use super::setups::PoolOwnerSetups;
use crate::pool_lifecycle::{LifecycleEffect, PoolLifecycle};
use crate::pool_source::PoolSet;
use crate::pools::{PoolOwnerMessage, Pools};

const POOL_OWNER_RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 5,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(5) },
};

/// How long the actor of a pool that is gone has to finish its last message.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) enum RootMessage {
    /// The pools have changed.
    Pools(PoolSet),
    /// Start the actor of this pool again.
    Restart(PoolId),
    /// Stop the pools that have been gone for long enough.
    StopDue,
    /// Hand all pools to other aggregators. Answered when each pool has another owner or the wait was long
    /// enough.
    Drain(RpcReplyPort<()>),
}

/// What `Root` needs to start.
#[derive(Debug)]
pub(crate) struct RootSetup {
    pub(crate) sets: watch::Receiver<PoolSet>,
    pub(crate) setups: PoolOwnerSetups,
    /// The pools, for the streams.
    pub(crate) pools: Pools,
    /// The set of pools that the streams find in `pools`.
    pub(crate) served: watch::Sender<PoolSet>,
    /// How long a pool is kept after it is gone.
    pub(crate) pool_drain: Duration,
}

#[derive(Debug)]
pub(crate) struct Root;

struct Pool {
    setup: PoolOwnerSetup,
    specs: watch::Sender<Arc<PoolSpec>>,
    restarts: RestartTracker,
}

pub(crate) struct State {
    setups: PoolOwnerSetups,
    lifecycle: PoolLifecycle,
    pools: BTreeMap<PoolId, Pool>,
    /// The pool of each actor.
    actors: BTreeMap<ActorId, PoolId>,
    handles: Pools,
    served: watch::Sender<PoolSet>,
    pool_drain: Duration,
    started: Instant,
    /// Forward the changes of the pools. They end with the actor.
    _tasks: JoinSet<()>,
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = State;
    type Arguments = RootSetup;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        setup: RootSetup,
    ) -> Result<State, ActorProcessingErr> {
        let RootSetup { mut sets, setups, pools: handles, served, pool_drain } = setup;
        let first = sets.borrow_and_update().clone();
        let (mut tasks, actor) = (JoinSet::new(), myself.clone());
        tasks.spawn(async move {
            while sets.changed().await.is_ok() {
                let set = sets.borrow_and_update().clone();
                if actor.cast(RootMessage::Pools(set)).is_err() {
                    break;
                }
            }
        });
        let mut state = State {
            setups,
            lifecycle: PoolLifecycle::new(pool_drain.as_millis() as u64),
            pools: BTreeMap::new(),
            actors: BTreeMap::new(),
            handles,
            served,
            pool_drain,
            started: Instant::now(),
            _tasks: tasks,
        };
        state.adopt(&myself, first).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::Pools(set) => state.adopt(&myself, set).await,
            RootMessage::Restart(pool) => state.start(&myself, &pool).await,
            RootMessage::StopDue => {
                let due = state.lifecycle.stop_due(state.now_ms());
                state.perform(&myself, due).await
            }
            RootMessage::Drain(port) => {
                state.drain().await;
                let _ = port.send(());
                Ok(())
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(ChildExit::Failed { child, error }) = child_exit(event) else { return Ok(()) };
        state.handle_failure(&myself, &child, &error);
        Ok(())
    }
}

impl State {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    async fn adopt(
        &mut self,
        myself: &ActorRef<RootMessage>,
        set: PoolSet,
    ) -> Result<(), ActorProcessingErr> {
        let effects = self.lifecycle.adopt(self.now_ms(), &set);
        let retires = effects.iter().any(|effect| matches!(effect, LifecycleEffect::Retire(_)));
        self.perform(myself, effects).await?;
        if set.is_synced {
            self.setups.metrics.pools.set(set.pools.len() as u64);
        }
        self.served.send_replace(set);
        if retires {
            myself.send_after(self.pool_drain, || RootMessage::StopDue);
        }
        Ok(())
    }

    async fn perform(
        &mut self,
        myself: &ActorRef<RootMessage>,
        effects: Vec<LifecycleEffect>,
    ) -> Result<(), ActorProcessingErr> {
        for effect in effects {
            match effect {
                LifecycleEffect::Start(pool, spec) => {
                    let (specs, receiver) = watch::channel(spec);
                    let setup = self.setups.pool(pool.clone(), receiver);
                    let restarts = RestartTracker::new(POOL_OWNER_RESTARTS);
                    tracing::info!(%pool, endpoints = specs.borrow().endpoints.len(), "serving a pool");
                    self.handles.insert(Arc::clone(&setup.handle));
                    self.pools.insert(pool.clone(), Pool { setup, specs, restarts });
                    self.start(myself, &pool).await?;
                }
                LifecycleEffect::Update(pool, spec) => self.update(&pool, spec),
                LifecycleEffect::Retire(pool) => {
                    tracing::info!(%pool, keep = ?self.pool_drain, "a pool is gone; keeping its state while replicas drain it");
                }
                LifecycleEffect::Stop(pool) => self.stop(&pool).await,
            }
        }
        self.setups.share_history(self.pools.len());
        Ok(())
    }

    fn update(&self, pool: &PoolId, spec: Arc<PoolSpec>) {
        if let Some(pool) = self.pools.get(pool) {
            pool.specs.send_replace(spec);
        }
    }

    /// Stops a pool for good, and lets others own it.
    async fn stop(&mut self, id: &PoolId) {
        let Some(Pool { setup, .. }) = self.pools.remove(id) else { return };
        self.handles.remove(id);
        self.actors.retain(|_, pool| pool != id);
        if let Some(actor) = setup.handle.actor.send_replace(None)
            && let Err(error) = actor.stop_and_wait(None, Some(STOP_TIMEOUT)).await
        {
            tracing::warn!(pool = %id, %error, "the actor of a pool that is gone does not stop");
        }
        // The streams that only the owner serves end.
        setup.handle.set_status(RoleStatus::Standby);
        // The actor has stopped, so that it does not claim the pool again.
        setup.membership.claim_failures.forget(id);
        coordination::release(&setup.membership, id);
        self.setups.metrics.remove_pool(id);
        tracing::info!(pool = %id, "stopped serving a pool");
    }

    /// Starts the actor of a pool, unless the pool has been stopped in the meantime.
    async fn start(&mut self, myself: &ActorRef<RootMessage>, id: &PoolId) -> Result<(), ActorProcessingErr> {
        let Some(pool) = self.pools.get(id) else { return Ok(()) };
        let (setup, handle) = (pool.setup.clone(), Arc::clone(&pool.setup.handle));
        let (actor, _) = Actor::spawn_linked(None, PoolOwner, setup, myself.get_cell()).await?;
        self.actors.insert(actor.get_id(), id.clone());
        handle.actor.send_replace(Some(actor));
        Ok(())
    }

    fn handle_failure(&mut self, myself: &ActorRef<RootMessage>, child: &ActorCell, error: &str) {
        let Some(id) = self.actors.remove(&child.get_id()) else { return };
        let Some(Pool { setup, restarts, .. }) = self.pools.get_mut(&id) else { return };
        setup.handle.actor.send_replace(None);
        setup.handle.set_status(RoleStatus::Standby);
        match restarts.on_failure(self.started.elapsed(), 0.0) {
            RestartDecision::RestartAfter(delay) => {
                tracing::error!(pool = %id, error, ?delay, "the actor of a pool failed; restarting it");
                myself.send_after(delay, move || RootMessage::Restart(id));
            }
            RestartDecision::GiveUp => {
                tracing::error!(pool = %id, error, "the actor of a pool fails too often; stopping");
                myself.stop(Some("the actor of a pool fails too often".to_owned()));
            }
        }
    }

    async fn drain(&self) {
        let actors: Vec<_> =
            self.pools.values().filter_map(|pool| pool.setup.handle.actor.borrow().clone()).collect();
        let drains: Vec<_> = actors
            .into_iter()
            .map(|actor| tokio::spawn(async move { drop(actor.call(PoolOwnerMessage::Drain, None).await) }))
            .collect();
        for drained in drains {
            // An actor that fails now does not own its pool any more either.
            let _ = drained.await;
        }
    }
}
