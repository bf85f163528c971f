//! Reads one model server.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_actors::{Errand, Panicked};
use signalbox_state::{AssignedEndpoint, ScrapeResult, ScrapeStatus, Update};
use signalbox_types::Generation;

use crate::actors::Shared;
use crate::metrics::{Standing, name};
use crate::outbox::Pending;
use crate::pod::{Pod, Step};
use crate::scrape::{ScrapeError, Scraper};

/// Owns what is known of one model server, and the connection to it.
pub(crate) struct PodCollector;

/// A fetch that has ended, with the scraper that it was lent.
#[derive(Debug)]
pub(crate) struct Fetched {
    scraper: Scraper,
    outcome: Result<(), ScrapeError>,
}

#[derive(Debug)]
pub(crate) enum PodCommand {
    /// It is time to read.
    Read,
    /// The page is there, or is not to be had.
    Fetched(Result<Box<Fetched>, Panicked>),
    /// Report everything, from now on under this generation.
    Restate(Generation),
}

pub(crate) struct PodState {
    shared: Arc<Shared>,
    assigned: AssignedEndpoint,
    pod: Pod,
    /// Absent while it is out on an errand.
    scraper: Option<Scraper>,
    errand: Option<Errand>,
    standing: Standing,
}

impl Actor for PodCollector {
    type Msg = PodCommand;
    type State = PodState;
    type Arguments = (Arc<Shared>, AssignedEndpoint);

    async fn pre_start(
        &self,
        myself: ActorRef<PodCommand>,
        (shared, assigned): Self::Arguments,
    ) -> Result<PodState, ActorProcessingErr> {
        let (now, scrape) = (shared.clock.now(), shared.config.scrape);
        let pod = Pod::new(now, assigned.endpoint, &scrape);
        myself.send_after(pod.first_in(now), || PodCommand::Read);
        Ok(PodState {
            pod,
            scraper: Some(Scraper::new(&assigned.metrics_url, scrape)),
            errand: None,
            standing: Standing::new(shared.metrics.clone()),
            shared,
            assigned,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<PodCommand>,
        command: PodCommand,
        state: &mut PodState,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            PodCommand::Read => state.fetch(myself),
            PodCommand::Fetched(fetched) => state.observe(&myself, *fetched?),
            PodCommand::Restate(generation) => {
                state.assigned.generation = generation;
                if let Some(update) = state.pod.whole() {
                    state.report(update);
                }
            }
        }
        Ok(())
    }
}

impl PodState {
    fn fetch(&mut self, myself: ActorRef<PodCommand>) {
        let Some(mut scraper) = self.scraper.take() else { return };
        let work = async move {
            let outcome = scraper.fetch().await;
            Box::new(Fetched { scraper, outcome })
        };
        self.errand = Some(Errand::start(myself, work, PodCommand::Fetched));
    }

    fn observe(&mut self, myself: &ActorRef<PodCommand>, fetched: Fetched) {
        let Fetched { scraper, outcome } = fetched;
        let sample = outcome.and_then(|()| scraper.sample(self.assigned.engine));
        self.scraper = Some(scraper);
        let (reading, failure) = match sample {
            Ok(sample) => (ScrapeResult::Sampled(sample), None),
            Err(error) => (error.reading(), Some(error)),
        };
        self.shared.metrics.scraped(&reading);
        let Step { report, turn, next_in } = self.pod.read(self.shared.clock.now(), reading, rand::random());
        if let Some(update) = report {
            self.report(update);
        }
        if let Some((before, after)) = turn {
            self.standing.turn(after);
            self.log_turn(before, after, failure);
        }
        myself.send_after(next_in, || PodCommand::Read);
    }

    fn report(&self, update: Update) {
        let read_at_ms = self.pod.read_at_ms(self.shared.clock.now());
        let pending = Pending { generation: self.assigned.generation, read_at_ms, update };
        self.shared.outbox.put(self.assigned.endpoint, pending);
    }

    fn log_turn(&self, before: ScrapeStatus, after: ScrapeStatus, cause: Option<ScrapeError>) {
        let AssignedEndpoint { name: pod, metrics_url: url, .. } = &self.assigned;
        let (before, after) = (name(before), name(after));
        match cause {
            Some(cause) => tracing::warn!(%pod, %url, before, "metrics are {after}: {cause}"),
            None => tracing::info!(%pod, %url, before, "metrics are {after}"),
        }
    }
}
