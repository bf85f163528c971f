//! Root: keeps a `PoolOwner` alive. An owner that failed is replaced by one that inherits nothing, under a new epoch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{BackoffPolicy, Ended, RestartPolicy, Restarts, Verdict, ended};
use signalbox_state::PoolConfig;
use signalbox_types::{PoolSpec, Version};
use tokio::sync::watch;

use super::pool_owner::{OwnerRef, PoolOwner, Setup};
use crate::epoch::Epochs;
use crate::metrics::Metrics;

const OWNER_RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 5,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(5) },
};

/// What Root is started with, and gives each owner.
#[derive(Clone, Debug)]
pub(crate) struct RootSetup {
    pub(crate) config: PoolConfig,
    pub(crate) specs: watch::Receiver<PoolSpec>,
    pub(crate) head: Arc<watch::Sender<Version>>,
    pub(crate) metrics: Arc<Metrics>,
    /// Where the streams find the owner; `None` while there is none.
    pub(crate) owner: Arc<watch::Sender<Option<OwnerRef>>>,
}

#[derive(Debug)]
pub(crate) enum RootMessage {
    StartOwner,
}

#[derive(Debug)]
pub(crate) struct Root;

pub(crate) struct State {
    setup: RootSetup,
    epochs: Arc<Epochs>,
    restarts: Restarts,
    started: Instant,
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
        let (epochs, restarts) = (Arc::default(), Restarts::new(OWNER_RESTARTS));
        let state = State { setup, epochs, restarts, started: Instant::now() };
        state.start_owner(&myself).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::StartOwner => state.start_owner(&myself).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(Ended::Failed { error, .. }) = ended(event) else { return Ok(()) };
        state.setup.owner.send_replace(None);
        match state.restarts.on_failure(state.started.elapsed(), 0.0) {
            Verdict::RestartAfter(delay) => {
                tracing::error!(error, ?delay, "the pool's owner failed and is started anew");
                myself.send_after(delay, || RootMessage::StartOwner);
            }
            Verdict::GiveUp => {
                tracing::error!(error, "the pool's owner fails too often");
                myself.stop(Some("the pool's owner fails too often".to_owned()));
            }
        }
        Ok(())
    }
}

impl State {
    async fn start_owner(&self, myself: &ActorRef<RootMessage>) -> Result<(), ActorProcessingErr> {
        let RootSetup { config, specs, head, metrics, owner } = self.setup.clone();
        let setup = Setup { config, specs, epochs: Arc::clone(&self.epochs), head, metrics };
        let (started, _) = Actor::spawn_linked(None, PoolOwner, setup, myself.get_cell()).await?;
        owner.send_replace(Some(started));
        Ok(())
    }
}
