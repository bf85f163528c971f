//! Keeps one collector for each assigned model server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{BackoffPolicy, Ended, RestartPolicy, Restarts, Verdict, ended};
use signalbox_state::AssignedEndpoint;
use signalbox_types::EndpointKey;

use crate::actors::Shared;
use crate::actors::pod_collector::{PodCollector, PodCommand};
use crate::roster::{Assignment, Move, moves};

/// One for one, and never given up: a page that brings its reader down must not cost the other model servers theirs.
const RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: u32::MAX,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(10) },
};

/// How long the end of a collector is waited for whose place another takes. It never waits itself, so this is not used up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Owns the set of model servers that are read.
pub(crate) struct PodSupervisor;

#[derive(Debug)]
pub(crate) enum PodSetCommand {
    /// Read these, and nothing else.
    Assign(Assignment),
    /// Start the collector of this model server again.
    Restart(EndpointKey),
}

struct Pod {
    assigned: AssignedEndpoint,
    /// Absent while a restart is waited for.
    collector: Option<ActorRef<PodCommand>>,
    restarts: Restarts,
}

impl Pod {
    fn is_of(&self, cell: &ActorCell) -> bool {
        self.collector.as_ref().is_some_and(|collector| collector.get_id() == cell.get_id())
    }
}

pub(crate) struct PodSet {
    shared: Arc<Shared>,
    pods: BTreeMap<EndpointKey, Pod>,
}

impl Actor for PodSupervisor {
    type Msg = PodSetCommand;
    type State = PodSet;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        _myself: ActorRef<PodSetCommand>,
        shared: Arc<Shared>,
    ) -> Result<PodSet, ActorProcessingErr> {
        Ok(PodSet { shared, pods: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<PodSetCommand>,
        command: PodSetCommand,
        state: &mut PodSet,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            PodSetCommand::Assign(assignment) => state.assign(&myself, assignment).await,
            PodSetCommand::Restart(key) => state.restart(&myself, key).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<PodSetCommand>,
        event: SupervisionEvent,
        state: &mut PodSet,
    ) -> Result<(), ActorProcessingErr> {
        match ended(event) {
            Some(Ended::Failed { child, error }) => state.lost(&myself, &child, &error),
            Some(Ended::Stopped { child, .. }) => state.lost(&myself, &child, "it stopped"),
            None => {}
        }
        Ok(())
    }
}

impl PodSet {
    async fn assign(
        &mut self,
        myself: &ActorRef<PodSetCommand>,
        assignment: Assignment,
    ) -> Result<(), ActorProcessingErr> {
        let read = self.pods.iter().map(|(key, pod)| (*key, &pod.assigned));
        for step in moves(read, assignment) {
            match step {
                Move::Take(assigned) => self.take(myself, assigned).await?,
                Move::Release(key) => {
                    self.release(key);
                }
                Move::Replace(assigned) => {
                    if let Some(collector) = self.release(assigned.endpoint) {
                        collector.wait(Some(PATIENCE)).await?;
                    }
                    self.take(myself, assigned).await?;
                }
                Move::Restate(key, generation) => {
                    if let Some(pod) = self.pods.get_mut(&key) {
                        pod.assigned.generation = generation;
                        tell(pod, PodCommand::Restate(generation));
                    }
                }
            }
        }
        Ok(())
    }

    async fn take(
        &mut self,
        myself: &ActorRef<PodSetCommand>,
        assigned: AssignedEndpoint,
    ) -> Result<(), ActorProcessingErr> {
        let key = assigned.endpoint;
        let collector = self.start(myself, assigned.clone()).await?;
        self.pods
            .insert(key, Pod { assigned, collector: Some(collector), restarts: Restarts::new(RESTARTS) });
        Ok(())
    }

    fn release(&mut self, key: EndpointKey) -> Option<ActorRef<PodCommand>> {
        let collector = self.pods.remove(&key)?.collector?;
        collector.stop(None);
        Some(collector)
    }

    async fn start(
        &self,
        myself: &ActorRef<PodSetCommand>,
        assigned: AssignedEndpoint,
    ) -> Result<ActorRef<PodCommand>, ActorProcessingErr> {
        let arguments = (self.shared.clone(), assigned);
        let (collector, _) = Actor::spawn_linked(None, PodCollector, arguments, myself.get_cell()).await?;
        Ok(collector)
    }

    /// A collector that ended is started again, unless nobody waits for it.
    fn lost(&mut self, myself: &ActorRef<PodSetCommand>, child: &ActorCell, error: &str) {
        let Some((key, pod)) = self.pods.iter_mut().find(|(_, pod)| pod.is_of(child)) else { return };
        let key = *key;
        pod.collector = None;
        let verdict = pod.restarts.on_failure(self.shared.clock.now(), rand::random());
        tracing::error!(pod = %pod.assigned.name, %error, ?verdict, "the collector of a pod failed");
        if let Verdict::RestartAfter(delay) = verdict {
            myself.send_after(delay, move || PodSetCommand::Restart(key));
        }
    }

    /// A restart that comes after the model server was released or taken anew is void.
    async fn restart(
        &mut self,
        myself: &ActorRef<PodSetCommand>,
        key: EndpointKey,
    ) -> Result<(), ActorProcessingErr> {
        let Some(pod) = self.pods.get(&key).filter(|pod| pod.collector.is_none()) else { return Ok(()) };
        let collector = self.start(myself, pod.assigned.clone()).await?;
        self.shared.metrics.restarts.inc();
        if let Some(pod) = self.pods.get_mut(&key) {
            pod.collector = Some(collector);
        }
        Ok(())
    }
}

/// A collector that just ended has nothing to say; its successor begins with everything.
fn tell(pod: &Pod, command: PodCommand) {
    if let Some(collector) = &pod.collector {
        let _ = collector.cast(command);
    }
}

#[cfg(test)]
mod tests {
    use signalbox_state::ScrapeStatus;

    use super::*;
    use crate::actors::fixtures::{assigned, shared};
    use crate::roster::Occasion;

    /// Waits until these endpoints, and no others, are reported as down.
    async fn down(shared: &Shared, mut awaited: Vec<EndpointKey>) {
        while !awaited.is_empty() {
            for (key, pending) in shared.outbox.take().await {
                assert_eq!(pending.update.scrape_status, ScrapeStatus::Down);
                let position =
                    awaited.iter().position(|awaited| *awaited == key).expect("it was not read before");
                awaited.swap_remove(position);
            }
        }
    }

    #[tokio::test]
    async fn a_collector_that_fails_is_started_again_and_its_neighbours_go_on() {
        let shared = shared();
        let (pods, _) = Actor::spawn(None, PodSupervisor, shared.clone()).await.unwrap();
        let endpoints = vec![assigned("a"), assigned("b"), assigned("c")];
        let keys: Vec<_> = endpoints.iter().map(|assigned| assigned.endpoint).collect();
        pods.cast(PodSetCommand::Assign(Assignment { endpoints, occasion: Occasion::NewStream })).unwrap();
        down(&shared, keys.clone()).await;
        let collectors = pods.get_children();
        assert_eq!(collectors.len(), 3);
        collectors[1].kill();
        let again = tokio::time::timeout(PATIENCE, shared.outbox.take()).await.unwrap();
        assert_eq!(again.len(), 1, "only the one that was started again begins with everything");
        assert!(keys.contains(again.keys().next().unwrap()));
        assert_eq!((pods.get_children().len(), shared.metrics.restarts.get()), (3, 1));
    }
}
