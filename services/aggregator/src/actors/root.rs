//! Root: keeps a `PoolSteward` alive for each pool. One that failed is replaced by one that holds nothing, and inherits from
//! whoever follows it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use signalbox_actors::{BackoffPolicy, Ended, RestartPolicy, Restarts, Verdict, ended};

use super::pool_owner::{Message, PoolOwner, Setup};

const STEWARD_RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 5,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(5) },
};

#[derive(Debug)]
pub(crate) enum RootMessage {
    /// Start the steward of the pool with this index.
    Start(usize),
    /// Leave all pools to others; answered when each has an owner, or waited long enough.
    Drain(RpcReplyPort<()>),
}

#[derive(Debug)]
pub(crate) struct Root;

struct Pool {
    setup: Setup,
    restarts: Restarts,
}

pub(crate) struct State {
    pools: Vec<Pool>,
    stewards: BTreeMap<ActorId, usize>,
    started: Instant,
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = State;
    type Arguments = Vec<Setup>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        setups: Vec<Setup>,
    ) -> Result<State, ActorProcessingErr> {
        let pool = |setup| Pool { setup, restarts: Restarts::new(STEWARD_RESTARTS) };
        let pools: Vec<_> = setups.into_iter().map(pool).collect();
        let mut state = State { pools, stewards: BTreeMap::new(), started: Instant::now() };
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
        let Some(Ended::Failed { child, error }) = ended(event) else { return Ok(()) };
        state.failed(&myself, &child, &error);
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
        let board = setup.board.clone();
        let (owner, _) = Actor::spawn_linked(None, PoolOwner, setup, myself.get_cell()).await?;
        self.stewards.insert(owner.get_id(), index);
        board.owner.send_replace(Some(owner));
        Ok(())
    }

    fn failed(&mut self, myself: &ActorRef<RootMessage>, child: &ActorCell, error: &str) {
        let Some(index) = self.stewards.remove(&child.get_id()) else { return };
        let Pool { setup, restarts } = &mut self.pools[index];
        setup.board.owner.send_replace(None);
        setup.board.stand(signalbox_state::RoleStatus::Standby);
        let pool = &setup.board.pool;
        match restarts.on_failure(self.started.elapsed(), 0.0) {
            Verdict::RestartAfter(delay) => {
                tracing::error!(%pool, error, ?delay, "the pool's owner failed and is started anew");
                myself.send_after(delay, move || RootMessage::Start(index));
            }
            Verdict::GiveUp => {
                tracing::error!(%pool, error, "the pool's owner fails too often");
                myself.stop(Some("a pool's owner fails too often".to_owned()));
            }
        }
    }

    async fn drain(&self) {
        let stewards: Vec<_> =
            self.pools.iter().filter_map(|pool| pool.setup.board.owner.borrow().clone()).collect();
        let waiting: Vec<_> = stewards
            .into_iter()
            .map(|owner| tokio::spawn(async move { drop(owner.call(Message::Drain, None).await) }))
            .collect();
        for drained in waiting {
            // One that fails now has left its pool, too.
            let _ = drained.await;
        }
    }
}
