//! Root: keeps `Uplink` and `ViewKeeper` alive. A keeper that is started anew holds nothing until the next snapshot; requests
//! go on reading the view that the one before it left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{BackoffPolicy, Ended, RestartPolicy, Restarts, Verdict, ended};
use tokio::sync::watch;

use super::uplink::{self, Queue, Uplink};
use super::view_keeper::{self, ViewKeeper};
use crate::picker::Picker;
use crate::relay::Ends;

/// Both children know each other, so both are restarted when one fails.
const RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 10,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(20), cap: Duration::from_secs(2) },
};

#[derive(Clone, Debug)]
pub(crate) struct RootSetup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) peers: signalbox_peers::Settings,
    pub(crate) outgoing: Queue,
    pub(crate) ends: Ends,
    pub(crate) ready: Arc<watch::Sender<bool>>,
}

#[derive(Debug)]
pub(crate) enum RootMessage {
    StartChildren,
}

#[derive(Debug)]
pub(crate) struct Root;

pub(crate) struct State {
    setup: RootSetup,
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
        start_children(&setup, &myself).await?;
        Ok(State { setup, restarts: Restarts::new(RESTARTS), started: Instant::now() })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::StartChildren => start_children(&state.setup, &myself).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(Ended::Failed { error, .. }) = ended(event) else { return Ok(()) };
        myself.stop_children(None);
        match state.restarts.on_failure(state.started.elapsed(), 0.0) {
            Verdict::RestartAfter(delay) => {
                tracing::error!(error, ?delay, "an actor failed and is started anew");
                myself.send_after(delay, || RootMessage::StartChildren);
            }
            Verdict::GiveUp => {
                tracing::error!(
                    error,
                    "an actor fails too often; requests go on being decided by the last view"
                );
            }
        }
        Ok(())
    }
}

async fn start_children(setup: &RootSetup, myself: &ActorRef<RootMessage>) -> Result<(), ActorProcessingErr> {
    let RootSetup { picker, peers, outgoing, ends, ready } = setup.clone();
    let (owner, known) = watch::channel(None);
    let hello = peers.hello.clone();
    let setup = uplink::Setup { picker: Arc::clone(&picker), outgoing, ends, hello, owner: known };
    let (uplink, _) = Actor::spawn_linked(None, Uplink, setup, myself.get_cell()).await?;
    let setup = view_keeper::Setup { picker, peers, owner: Arc::new(owner), ready, uplink };
    Actor::spawn_linked(None, ViewKeeper, setup, myself.get_cell()).await?;
    Ok(())
}
