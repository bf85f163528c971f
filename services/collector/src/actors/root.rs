//! `Root`: holds the current assignment and supervises the other actors.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{
    BackoffPolicy, ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit,
};

use crate::actors::endpoint_supervisor::{EndpointSupervisor, SupervisorMessage};
use crate::actors::root_message::{Child, RootMessage};
use crate::actors::uplink::Uplink;
use crate::assignment::{Assignment, AssignmentKind};
use crate::shared::Shared;

/// Each child is restarted on its own. A child that fails more often has a defect that restarts do not fix,
/// so the process ends.
const RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 10,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(2) },
};

/// Holds the current assignment, so that each child can be restarted without the other.
pub(crate) struct Root;

pub(crate) struct RootState {
    shared: Arc<Shared>,
    assignment: Option<Assignment>,
    supervisor: ActorRef<SupervisorMessage>,
    supervisor_restarts: RestartTracker,
    uplink: ActorCell,
    uplink_restarts: RestartTracker,
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = RootState;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootMessage>,
        shared: Arc<Shared>,
    ) -> Result<RootState, ActorProcessingErr> {
        let supervisor = start_supervisor(&shared, &myself).await?;
        let uplink = start_uplink(&shared, &myself).await?;
        let (supervisor_restarts, uplink_restarts) =
            (RestartTracker::new(RESTARTS), RestartTracker::new(RESTARTS));
        Ok(RootState { shared, assignment: None, supervisor, supervisor_restarts, uplink, uplink_restarts })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootMessage>,
        message: RootMessage,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::Assign(assignment) => state.assign(assignment),
            RootMessage::Restart(Child::Uplink) => {
                state.uplink = start_uplink(&state.shared, &myself).await?
            }
            RootMessage::Restart(Child::EndpointSupervisor) => {
                state.supervisor = start_supervisor(&state.shared, &myself).await?;
                if let Some(assignment) = state.assignment.clone() {
                    state.assign(assignment);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootMessage>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match child_exit(event) {
            Some(ChildExit::Failed { child, error }) => state.handle_exit(&myself, &child, &error),
            Some(ChildExit::Stopped { child, .. }) => state.handle_exit(&myself, &child, "it stopped"),
            None => Ok(()),
        }
    }
}

impl RootState {
    /// Stores the assignment and forwards it. A supervisor that is being restarted receives it after its
    /// start.
    fn assign(&mut self, assignment: Assignment) {
        self.assignment = Some(Assignment { kind: AssignmentKind::Update, ..assignment.clone() });
        let _ = self.supervisor.cast(SupervisorMessage::Assign(assignment));
    }

    fn handle_exit(
        &mut self,
        myself: &ActorRef<RootMessage>,
        child: &ActorCell,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        let (child, restarts) = if child.get_id() == self.supervisor.get_id() {
            (Child::EndpointSupervisor, &mut self.supervisor_restarts)
        } else if child.get_id() == self.uplink.get_id() {
            (Child::Uplink, &mut self.uplink_restarts)
        } else {
            return Ok(());
        };
        let decision = restarts.on_failure(self.shared.clock.now(), rand::random());
        tracing::error!(actor = ?child, %error, ?decision, "an actor of the collector failed");
        match decision {
            RestartDecision::GiveUp => Err(format!("{child:?} fails too often")),
            RestartDecision::RestartAfter(delay) => {
                self.shared.metrics.actor_restarts.inc();
                myself.send_after(delay, move || RootMessage::Restart(child));
                Ok(())
            }
        }
        .map_err(Into::into)
    }
}

async fn start_supervisor(
    shared: &Arc<Shared>,
    myself: &ActorRef<RootMessage>,
) -> Result<ActorRef<SupervisorMessage>, ActorProcessingErr> {
    let (supervisor, _) =
        Actor::spawn_linked(None, EndpointSupervisor, shared.clone(), myself.get_cell()).await?;
    Ok(supervisor)
}

async fn start_uplink(
    shared: &Arc<Shared>,
    myself: &ActorRef<RootMessage>,
) -> Result<ActorCell, ActorProcessingErr> {
    let arguments = (shared.clone(), myself.clone());
    let (uplink, _) = Actor::spawn_linked(None, Uplink, arguments, myself.get_cell()).await?;
    Ok(uplink.get_cell())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::fixtures::{assigned, shared};

    #[tokio::test]
    async fn restarted_supervisor_receives_the_current_assignment() {
        let shared = shared();
        let (root, _) = Actor::spawn(None, Root, shared.clone()).await.unwrap();
        let endpoints = vec![assigned("a")];
        let key = endpoints[0].endpoint;
        root.cast(RootMessage::Assign(Assignment { endpoints, kind: AssignmentKind::NewStream })).unwrap();
        for _ in 0..3 {
            let update = tokio::time::timeout(Duration::from_secs(20), shared.outbox.take());
            assert!(update.await.unwrap().contains_key(&key));
            let supervisor = root.get_children().into_iter().find(|child| !child.get_children().is_empty());
            supervisor.expect("the supervisor has a scraper").kill();
        }
    }
}
