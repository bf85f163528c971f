//! `Root`: runs one `PoolOwner` per pool. An actor that failed is replaced by an empty one, which takes the
//! pool's state over from its followers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use signalbox_actors::{
    BackoffPolicy, ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit,
};
use signalbox_state::RoleStatus;

use super::pool_owner::{PoolOwner, PoolOwnerSetup};
use crate::pools::PoolOwnerMessage;

const POOL_OWNER_RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 5,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(5) },
};

#[derive(Debug)]
pub(crate) enum RootMessage {
    /// Start the actor of the pool with this index.
    Start(usize),
    /// Hand all pools to other aggregators. Answered when each pool has another owner or the wait was long
    /// enough.
    Drain(RpcReplyPort<()>),
}

#[derive(Debug)]
pub(crate) struct Root;

struct Pool {
    setup: PoolOwnerSetup,
    restarts: RestartTracker,
}

pub(crate) struct State {
    pools: Vec<Pool>,
    /// Index of each actor's pool.
    actors: BTreeMap<ActorId, usize>,
    started: Instant,
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = State;
    type Arguments = Vec<PoolOwnerSetup>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        setups: Vec<PoolOwnerSetup>,
    ) -> Result<State, ActorProcessingErr> {
        let pool = |setup| Pool { setup, restarts: RestartTracker::new(POOL_OWNER_RESTARTS) };
        let pools: Vec<_> = setups.into_iter().map(pool).collect();
        let mut state = State { pools, actors: BTreeMap::new(), started: Instant::now() };
        for index in 0..state.pools.len() {
            state.start(&myself, index).await?;
        }
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::Start(index) => state.start(&myself, index).await,
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
    async fn start(
        &mut self,
        myself: &ActorRef<RootMessage>,
        index: usize,
    ) -> Result<(), ActorProcessingErr> {
        let setup = self.pools[index].setup.clone();
        let handle = setup.handle.clone();
        let (actor, _) = Actor::spawn_linked(None, PoolOwner, setup, myself.get_cell()).await?;
        self.actors.insert(actor.get_id(), index);
        handle.actor.send_replace(Some(actor));
        Ok(())
    }

    fn handle_failure(&mut self, myself: &ActorRef<RootMessage>, child: &ActorCell, error: &str) {
        let Some(index) = self.actors.remove(&child.get_id()) else { return };
        let Pool { setup, restarts } = &mut self.pools[index];
        setup.handle.actor.send_replace(None);
        setup.handle.set_status(RoleStatus::Standby);
        let pool = &setup.handle.pool;
        match restarts.on_failure(self.started.elapsed(), 0.0) {
            RestartDecision::RestartAfter(delay) => {
                tracing::error!(%pool, error, ?delay, "the actor of a pool failed; restarting it");
                myself.send_after(delay, move || RootMessage::Start(index));
            }
            RestartDecision::GiveUp => {
                tracing::error!(%pool, error, "the actor of a pool fails too often; stopping");
                myself.stop(Some("the actor of a pool fails too often".to_owned()));
            }
        }
    }

    async fn drain(&self) {
        let actors: Vec<_> =
            self.pools.iter().filter_map(|pool| pool.setup.handle.actor.borrow().clone()).collect();
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
