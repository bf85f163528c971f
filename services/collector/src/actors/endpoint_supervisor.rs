//! `EndpointSupervisor`: runs one scraper per assigned endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{
    BackoffPolicy, ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit,
};
use signalbox_state::AssignedEndpoint;
use signalbox_types::EndpointKey;

use crate::actors::endpoint_scraper::{EndpointScraper, ScraperMessage};
use crate::assignment::{Assignment, AssignmentStep, steps};
use crate::shared::Shared;

/// Each scraper is restarted on its own, without a limit: a page that makes its scraper fail must not stop
/// the scrapes of other endpoints.
const RESTARTS: RestartPolicy = RestartPolicy {
    max_restarts: u32::MAX,
    within: Duration::from_secs(60),
    backoff: BackoffPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(10) },
};

/// Time limit for the end of a scraper that is replaced. Scrapers never block, so it is not reached.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts and stops scrapers according to the assignment.
pub(crate) struct EndpointSupervisor;

#[derive(Debug)]
pub(crate) enum SupervisorMessage {
    /// Scrape exactly these endpoints.
    Assign(Assignment),
    /// Start the scraper of this endpoint again.
    Restart(EndpointKey),
}

struct Supervised {
    assigned: AssignedEndpoint,
    /// `None` until the scraper is restarted.
    scraper: Option<ActorRef<ScraperMessage>>,
    restarts: RestartTracker,
}

impl Supervised {
    fn is_scraped_by(&self, cell: &ActorCell) -> bool {
        self.scraper.as_ref().is_some_and(|scraper| scraper.get_id() == cell.get_id())
    }
}

pub(crate) struct SupervisorState {
    shared: Arc<Shared>,
    endpoints: BTreeMap<EndpointKey, Supervised>,
}

impl Actor for EndpointSupervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = Arc<Shared>;

    async fn pre_start(
        &self,
        _myself: ActorRef<SupervisorMessage>,
        shared: Arc<Shared>,
    ) -> Result<SupervisorState, ActorProcessingErr> {
        Ok(SupervisorState { shared, endpoints: BTreeMap::new() })
    }

    async fn handle(
        &self,
        myself: ActorRef<SupervisorMessage>,
        message: SupervisorMessage,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Assign(assignment) => state.assign(&myself, assignment).await,
            SupervisorMessage::Restart(key) => state.restart(&myself, key).await,
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<SupervisorMessage>,
        event: SupervisionEvent,
        state: &mut SupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match child_exit(event) {
            Some(ChildExit::Failed { child, error }) => state.handle_exit(&myself, &child, &error),
            Some(ChildExit::Stopped { child, .. }) => state.handle_exit(&myself, &child, "it stopped"),
            None => {}
        }
        Ok(())
    }
}

impl SupervisorState {
    async fn assign(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        assignment: Assignment,
    ) -> Result<(), ActorProcessingErr> {
        let current = self.endpoints.iter().map(|(key, endpoint)| (*key, &endpoint.assigned));
        for step in steps(current, assignment) {
            match step {
                AssignmentStep::Add(assigned) => self.add(myself, assigned).await?,
                AssignmentStep::Remove(key) => {
                    self.remove(key);
                }
                AssignmentStep::Replace(assigned) => {
                    if let Some(scraper) = self.remove(assigned.endpoint) {
                        scraper.wait(Some(STOP_TIMEOUT)).await?;
                    }
                    self.add(myself, assigned).await?;
                }
                AssignmentStep::Resend(key, generation) => {
                    if let Some(endpoint) = self.endpoints.get_mut(&key) {
                        endpoint.assigned.generation = generation;
                        send(endpoint, ScraperMessage::Resend(generation));
                    }
                }
            }
        }
        Ok(())
    }

    async fn add(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        assigned: AssignedEndpoint,
    ) -> Result<(), ActorProcessingErr> {
        let key = assigned.endpoint;
        let scraper = self.start_scraper(myself, assigned.clone()).await?;
        let restarts = RestartTracker::new(RESTARTS);
        self.endpoints.insert(key, Supervised { assigned, scraper: Some(scraper), restarts });
        Ok(())
    }

    fn remove(&mut self, key: EndpointKey) -> Option<ActorRef<ScraperMessage>> {
        let scraper = self.endpoints.remove(&key)?.scraper?;
        scraper.stop(None);
        Some(scraper)
    }

    async fn start_scraper(
        &self,
        myself: &ActorRef<SupervisorMessage>,
        assigned: AssignedEndpoint,
    ) -> Result<ActorRef<ScraperMessage>, ActorProcessingErr> {
        let arguments = (self.shared.clone(), assigned);
        let (scraper, _) = Actor::spawn_linked(None, EndpointScraper, arguments, myself.get_cell()).await?;
        Ok(scraper)
    }

    /// Schedules the restart of a scraper that ended, unless its endpoint is no longer assigned.
    fn handle_exit(&mut self, myself: &ActorRef<SupervisorMessage>, child: &ActorCell, error: &str) {
        let found = self.endpoints.iter_mut().find(|(_, endpoint)| endpoint.is_scraped_by(child));
        let Some((key, endpoint)) = found else { return };
        let key = *key;
        endpoint.scraper = None;
        let decision = endpoint.restarts.on_failure(self.shared.clock.now(), rand::random());
        tracing::error!(endpoint = %endpoint.assigned.name, %error, ?decision, "the scraper of an endpoint failed");
        if let RestartDecision::RestartAfter(delay) = decision {
            myself.send_after(delay, move || SupervisorMessage::Restart(key));
        }
    }

    /// Starts the scraper again. Does nothing if the endpoint was removed or added again in the meantime.
    async fn restart(
        &mut self,
        myself: &ActorRef<SupervisorMessage>,
        key: EndpointKey,
    ) -> Result<(), ActorProcessingErr> {
        let stopped = self.endpoints.get(&key).filter(|endpoint| endpoint.scraper.is_none());
        let Some(endpoint) = stopped else { return Ok(()) };
        let scraper = self.start_scraper(myself, endpoint.assigned.clone()).await?;
        self.shared.metrics.actor_restarts.inc();
        if let Some(endpoint) = self.endpoints.get_mut(&key) {
            endpoint.scraper = Some(scraper);
        }
        Ok(())
    }
}

/// Sends a message to the endpoint's scraper. One that just ended needs none: its successor reports
/// everything anyway.
fn send(endpoint: &Supervised, message: ScraperMessage) {
    if let Some(scraper) = &endpoint.scraper {
        let _ = scraper.cast(message);
    }
}

#[cfg(test)]
mod tests {
    use signalbox_state::ScrapeStatus;

    use super::*;
    use crate::actors::fixtures::{assigned, shared};
    use crate::assignment::AssignmentKind;

    /// Waits until exactly these endpoints are reported as down.
    async fn wait_until_down(shared: &Shared, mut awaited: Vec<EndpointKey>) {
        while !awaited.is_empty() {
            for (key, pending) in shared.outbox.take().await {
                assert_eq!(pending.update.scrape_status, ScrapeStatus::Down);
                let position = awaited
                    .iter()
                    .position(|awaited| *awaited == key)
                    .expect("every endpoint is reported once");
                awaited.swap_remove(position);
            }
        }
    }

    #[tokio::test]
    async fn failed_scraper_is_restarted_and_others_continue() {
        let shared = shared();
        let (supervisor, _) = Actor::spawn(None, EndpointSupervisor, shared.clone()).await.unwrap();
        let endpoints = vec![assigned("a"), assigned("b"), assigned("c")];
        let keys: Vec<_> = endpoints.iter().map(|assigned| assigned.endpoint).collect();
        let assignment = Assignment { endpoints, kind: AssignmentKind::NewStream };
        supervisor.cast(SupervisorMessage::Assign(assignment)).unwrap();
        wait_until_down(&shared, keys.clone()).await;
        let scrapers = supervisor.get_children();
        assert_eq!(scrapers.len(), 3);
        scrapers[1].kill();
        let again = tokio::time::timeout(STOP_TIMEOUT, shared.outbox.take()).await.unwrap();
        assert_eq!(again.len(), 1, "only the restarted scraper reports again");
        assert!(keys.contains(again.keys().next().unwrap()));
        assert_eq!((supervisor.get_children().len(), shared.metrics.actor_restarts.get()), (3, 1));
    }
}
