//! `EndpointSupervisor`: runs one scraper per assigned endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use signalbox_actors::{
    BackoffPolicy, ChildExit, RestartDecision, RestartPolicy, RestartTracker, child_exit,
};
use signalbox_state::{AssignedEndpoint, ScrapeStatus, Update};
use signalbox_types::EndpointKey;

use crate::actors::endpoint_scraper::{EndpointScraper, ScraperMessage};
use crate::assignment::{Assignment, AssignmentStep, steps};
use crate::clock::as_millis;
use crate::metrics::EndpointGauge;
use crate::outbox::Pending;
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
    /// Counts the endpoint as stale until its scraper is restarted.
    unscraped: Option<EndpointGauge>,
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
                        match &endpoint.scraper {
                            // One that just ended needs no message: its end is reported under this generation.
                            Some(scraper) => drop(scraper.cast(ScraperMessage::Resend(generation))),
                            None => self.shared.outbox.put(key, unscraped(&self.shared, &endpoint.assigned)),
                        }
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
        self.endpoints
            .insert(key, Supervised { assigned, scraper: Some(scraper), restarts, unscraped: None });
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

    /// Reports the endpoint of a scraper that ended as stale and schedules the restart, unless the endpoint is no longer
    /// assigned. Without the report its last values would stay fresh: the owner sees that the collector is alive, but not
    /// that nobody scrapes the endpoint.
    fn handle_exit(&mut self, myself: &ActorRef<SupervisorMessage>, child: &ActorCell, error: &str) {
        let found = self.endpoints.iter_mut().find(|(_, endpoint)| endpoint.is_scraped_by(child));
        let Some((key, endpoint)) = found else { return };
        let key = *key;
        endpoint.scraper = None;
        endpoint.unscraped.get_or_insert_with(|| EndpointGauge::stale(self.shared.metrics.clone()));
        self.shared.metrics.scraper_failures.inc();
        self.shared.outbox.put(key, unscraped(&self.shared, &endpoint.assigned));
        let decision = endpoint.restarts.on_failure(self.shared.clock.now(), rand::random());
        let name = &endpoint.assigned.name;
        tracing::error!(
            endpoint = name,
            error,
            ?decision,
            "the scraper of an endpoint failed; the endpoint is stale"
        );
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
            (endpoint.scraper, endpoint.unscraped) = (Some(scraper), None);
        }
        Ok(())
    }
}

/// Returns the report of an endpoint that nobody scrapes until its scraper is restarted. It has no values: the last ones
/// stay known.
fn unscraped(shared: &Shared, assigned: &AssignedEndpoint) -> Pending {
    Pending {
        generation: assigned.generation,
        scraped_at_ms: as_millis(shared.clock.now()),
        update: Update { scrape_status: ScrapeStatus::Stale, ..Update::default() },
    }
}

#[cfg(test)]
mod tests {
    use signalbox_types::Generation;

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
        let failed = next_report(&shared).await;
        assert!(keys.contains(&failed.0));
        assert_eq!(failed.1.update.scrape_status, ScrapeStatus::Stale);
        let again = next_report(&shared).await;
        assert_eq!(again.0, failed.0, "only the restarted scraper reports again");
        assert_eq!(again.1.update.scrape_status, ScrapeStatus::Down);
        assert_eq!((supervisor.get_children().len(), shared.metrics.actor_restarts.get()), (3, 1));
    }

    /// Waits for the next report, of one endpoint.
    async fn next_report(shared: &Shared) -> (EndpointKey, Pending) {
        let mut reports = tokio::time::timeout(STOP_TIMEOUT, shared.outbox.take()).await.unwrap();
        assert_eq!(reports.len(), 1);
        reports.pop_first().unwrap()
    }

    /// Kills the only scraper, once it runs, and waits until its endpoint is reported as stale.
    async fn fail_scraper(supervisor: &ActorRef<SupervisorMessage>, shared: &Shared) {
        let scraper = loop {
            match supervisor.get_children().pop() {
                Some(scraper) => break scraper,
                None => tokio::task::yield_now().await,
            }
        };
        scraper.kill();
        // It may have reported before.
        while next_report(shared).await.1.update.scrape_status != ScrapeStatus::Stale {}
    }

    /// A scraper that fails before it has read a page reports nothing itself.
    #[tokio::test]
    async fn endpoint_whose_scraper_fails_again_and_again_is_stale_for_every_owner() {
        let shared = shared();
        let (supervisor, _) = Actor::spawn(None, EndpointSupervisor, shared.clone()).await.unwrap();
        let assign = |generation| {
            let endpoints = vec![AssignedEndpoint { generation: Generation(generation), ..assigned("a") }];
            let kind = AssignmentKind::NewStream;
            supervisor.cast(SupervisorMessage::Assign(Assignment { endpoints, kind })).unwrap();
        };
        assign(1);
        wait_until_down(&shared, vec![assigned("a").endpoint]).await;
        for failures in 1..=3 {
            fail_scraper(&supervisor, &shared).await;
            assert_eq!(shared.metrics.scraper_failures.get(), failures);
        }
        // The next owner learns of it while nobody scrapes the endpoint. If the scraper was restarted before the
        // assignment came, it reports itself.
        let told = async {
            for generation in 2.. {
                assign(generation);
                let report = next_report(&shared).await.1;
                assert_eq!(report.generation, Generation(generation));
                if report.update.scrape_status == ScrapeStatus::Stale {
                    return;
                }
                fail_scraper(&supervisor, &shared).await;
            }
        };
        tokio::time::timeout(4 * STOP_TIMEOUT, told).await.unwrap();
    }
}
