//! `Root`: supervises `Uplink` and `ViewKeeper`. A restarted `ViewKeeper` holds no state until its first
//! snapshot; meanwhile requests read the latest view of its predecessor.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
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

/// How long after the actors have failed too often they are started again, unless the process ends.
const RETRY_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) struct RootSetup {
    pub(crate) picker: Arc<Picker>,
    pub(crate) peers: signalbox_peers::FollowSettings,
    pub(crate) feedback: FeedbackQueues,
    pub(crate) request_ends: RequestEndQueue,
    pub(crate) ready: Arc<watch::Sender<bool>>,
    /// Receives why the actors failed, if they fail too often.
    pub(crate) failure: watch::Sender<Option<String>>,
}

#[derive(Debug)]
pub(crate) enum RootMessage {
    StartChildren,
}

#[derive(Debug)]
pub(crate) struct Root;

pub(crate) struct State {
    setup: RootSetup,
    /// The current uplink.
    uplink: Option<ActorId>,
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
        let uplink = Some(start_children(&setup, &myself).await?);
        Ok(State { setup, uplink, restarts: RestartTracker::new(RESTARTS), started: Instant::now() })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::StartChildren => match start_children(&state.setup, &myself).await {
                Ok(uplink) => state.uplink = Some(uplink),
                Err(error) => state.handle_failure(&myself, &format!("an actor did not start: {error}")),
            },
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let Some(ChildExit::Failed { child, error }) = child_exit(event) else { return Ok(()) };
        let actor = if state.uplink == Some(child.get_id()) { "the uplink" } else { "the view keeper" };
        state.handle_failure(&myself, &format!("{actor} failed: {error}"));
        Ok(())
    }
}

impl State {
    fn handle_failure(&mut self, myself: &ActorRef<RootMessage>, error: &str) {
        myself.stop_children(None);
        match self.restarts.on_failure(self.started.elapsed(), 0.0) {
            RestartDecision::RestartAfter(delay) => {
                tracing::error!(error, ?delay, "an actor failed; restarting all actors");
                myself.send_after(delay, || RootMessage::StartChildren);
            }
            // The view would grow old, and gateways have other replicas.
            RestartDecision::GiveUp => {
                let (pool, delay) = (&self.setup.peers.hello.pool, RETRY_INTERVAL);
                tracing::error!(pool, error, ?delay, "an actor failed too often; the pool is not ready");
                self.setup.ready.send_replace(false);
                self.setup.failure.send_replace(Some(error.to_owned()));
                self.restarts = RestartTracker::new(RESTARTS);
                myself.send_after(delay, || RootMessage::StartChildren);
            }
        }
    }
}

/// Starts the children. Returns the uplink.
async fn start_children(
    setup: &RootSetup,
    myself: &ActorRef<RootMessage>,
) -> Result<ActorId, ActorProcessingErr> {
    let RootSetup { picker, peers, feedback, request_ends, ready, failure: _ } = setup.clone();
    let (owner, owner_receiver) = watch::channel(None);
    let hello = peers.hello.clone();
    let setup =
        uplink::Setup { picker: Arc::clone(&picker), feedback, request_ends, hello, owner: owner_receiver };
    let (uplink, _) = Actor::spawn_linked(None, Uplink, setup, myself.get_cell()).await?;
    let uplink_id = uplink.get_id();
    let setup = view_keeper::Setup { picker, peers, owner: Arc::new(owner), ready, uplink };
    Actor::spawn_linked(None, ViewKeeper, setup, myself.get_cell()).await?;
    Ok(uplink_id)
}
