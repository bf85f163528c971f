//! `Root`: supervises `Uplink` and `ViewKeeper`. A restarted `ViewKeeper` holds no state until its first
//! snapshot; meanwhile requests read the latest view of its predecessor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{
    BackoffPolicy, ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit,
};
use tokio::sync::watch;

use super::request_end_relay::RequestEndQueue;
use super::uplink::{self, FeedbackQueues, Uplink};
use super::view_keeper::{self, ViewKeeper};
use crate::deciding::picker::Picker;

/// The children share channels, so one failure restarts both.
const RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 10,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(20), cap: Duration::from_secs(2) },
};

#[derive(Clone, Debug)]
pub(crate) struct RootSetup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) peers: signalbox_peers::FollowSettings,
    pub(crate) feedback: FeedbackQueues,
    pub(crate) request_ends: RequestEndQueue,
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
    restarts: RestartTracker,
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
        Ok(State { setup, restarts: RestartTracker::new(RESTARTS), started: Instant::now() })
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
        let Some(ChildExit::Failed { error, .. }) = child_exit(event) else { return Ok(()) };
        myself.stop_children(None);
        match state.restarts.on_failure(state.started.elapsed(), 0.0) {
            RestartDecision::RestartAfter(delay) => {
                tracing::error!(error, ?delay, "an actor failed; restarting all actors");
                myself.send_after(delay, || RootMessage::StartChildren);
            }
            RestartDecision::GiveUp => {
                tracing::error!(error, "an actor failed too often; deciding with the last view from now on");
            }
        }
        Ok(())
    }
}

async fn start_children(setup: &RootSetup, myself: &ActorRef<RootMessage>) -> Result<(), ActorProcessingErr> {
    let RootSetup { picker, peers, feedback, request_ends, ready } = setup.clone();
    let (owner, owner_receiver) = watch::channel(None);
    let hello = peers.hello.clone();
    let setup =
        uplink::Setup { picker: Arc::clone(&picker), feedback, request_ends, hello, owner: owner_receiver };
    let (uplink, _) = Actor::spawn_linked(None, Uplink, setup, myself.get_cell()).await?;
    let setup = view_keeper::Setup { picker, peers, owner: Arc::new(owner), ready, uplink };
    Actor::spawn_linked(None, ViewKeeper, setup, myself.get_cell()).await?;
    Ok(())
}
