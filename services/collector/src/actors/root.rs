//! The top of the collector.

use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{BackoffPolicy, Ended, RestartPolicy, Restarts, Verdict, ended};

use crate::actors::Shared;
use crate::actors::pod_supervisor::{PodSetCommand, PodSupervisor};
use crate::actors::uplink::Uplink;
use crate::roster::{Assignment, Occasion};

/// One for one; what fails more often is broken in a way that a restart does not mend, and the process ends.
const RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: 10,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(50), cap: Duration::from_secs(2) },
};

/// Owns the assignment in force, so that either child can be started again without the other.
pub(crate) struct Root;

#[derive(Debug)]
pub(crate) enum RootCommand {
    /// The aggregator said what to read.
    Assign(Assignment),
    /// Start this child again.
    Restart(Child),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    Pods,
    Uplink,
}

pub(crate) struct RootState {
    shared: Arc<Shared>,
    assignment: Option<Assignment>,
    pods: ActorRef<PodSetCommand>,
    pod_restarts: Restarts,
    uplink: ActorCell,
    uplink_restarts: Restarts,
}

impl Actor for Root {
    type Msg = RootCommand;
    type State = RootState;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        myself: ActorRef<RootCommand>,
        shared: Arc<Shared>,
    ) -> Result<RootState, ActorProcessingErr> {
        let pods = start_pods(&shared, &myself).await?;
        let uplink = start_uplink(&shared, &myself).await?;
        let (pod_restarts, uplink_restarts) = (Restarts::new(RESTARTS), Restarts::new(RESTARTS));
        Ok(RootState { shared, assignment: None, pods, pod_restarts, uplink, uplink_restarts })
    }

    async fn handle(
        &self,
        myself: ActorRef<RootCommand>,
        command: RootCommand,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            RootCommand::Assign(assignment) => state.assign(assignment),
            RootCommand::Restart(Child::Uplink) => {
                state.uplink = start_uplink(&state.shared, &myself).await?
            }
            RootCommand::Restart(Child::Pods) => {
                state.pods = start_pods(&state.shared, &myself).await?;
                if let Some(assignment) = state.assignment.clone() {
                    state.assign(assignment);
                }
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<RootCommand>,
        event: SupervisionEvent,
        state: &mut RootState,
    ) -> Result<(), ActorProcessingErr> {
        match ended(event) {
            Some(Ended::Failed { child, error }) => state.lost(&myself, &child, &error),
            Some(Ended::Stopped { child, .. }) => state.lost(&myself, &child, "it stopped"),
            None => Ok(()),
        }
    }
}

impl RootState {
    /// A child that is just being started again gets the assignment then.
    fn assign(&mut self, assignment: Assignment) {
        self.assignment = Some(Assignment { occasion: Occasion::Change, ..assignment.clone() });
        let _ = self.pods.cast(PodSetCommand::Assign(assignment));
    }

    fn lost(
        &mut self,
        myself: &ActorRef<RootCommand>,
        child: &ActorCell,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        let (child, restarts) = if child.get_id() == self.pods.get_id() {
            (Child::Pods, &mut self.pod_restarts)
        } else if child.get_id() == self.uplink.get_id() {
            (Child::Uplink, &mut self.uplink_restarts)
        } else {
            return Ok(());
        };
        let verdict = restarts.on_failure(self.shared.clock.now(), rand::random());
        tracing::error!(?child, %error, ?verdict, "a part of the collector failed");
        match verdict {
            Verdict::GiveUp => Err(format!("{child:?} fails too often")),
            Verdict::RestartAfter(delay) => {
                self.shared.metrics.restarts.inc();
                myself.send_after(delay, move || RootCommand::Restart(child));
                Ok(())
            }
        }
        .map_err(Into::into)
    }
}

async fn start_pods(
    shared: &Arc<Shared>,
    myself: &ActorRef<RootCommand>,
) -> Result<ActorRef<PodSetCommand>, ActorProcessingErr> {
    let (pods, _) = Actor::spawn_linked(None, PodSupervisor, shared.clone(), myself.get_cell()).await?;
    Ok(pods)
}

async fn start_uplink(
    shared: &Arc<Shared>,
    myself: &ActorRef<RootCommand>,
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
    async fn a_pod_supervisor_that_fails_is_started_again_with_the_assignment_in_force() {
        let shared = shared();
        let (root, _) = Actor::spawn(None, Root, shared.clone()).await.unwrap();
        let endpoints = vec![assigned("a")];
        let key = endpoints[0].endpoint;
        root.cast(RootCommand::Assign(Assignment { endpoints, occasion: Occasion::NewStream })).unwrap();
        for _ in 0..3 {
            let wait = tokio::time::timeout(Duration::from_secs(20), shared.outbox.take());
            assert!(wait.await.unwrap().contains_key(&key));
            let pods = root.get_children().into_iter().find(|child| !child.get_children().is_empty());
            pods.expect("it has the collector of the pod").kill();
        }
    }
}
