//! `EndpointScraper`: scrapes one endpoint periodically.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use signalbox_actors::BackgroundTask;
use signalbox_state::{AssignedEndpoint, ScrapeResult, ScrapeStatus, Update};
use signalbox_types::Generation;
use tokio::task::JoinError;

use crate::metrics::{EndpointGauge, status_name};
use crate::outbox::Pending;
use crate::scrape::{FetchError, PageFetcher, ScrapeStep, ScrapedEndpoint};
use crate::shared::Shared;

/// Scrapes one endpoint and puts what changed into the outbox.
pub(crate) struct EndpointScraper;

/// A finished fetch, with the fetcher that the background task borrowed.
#[derive(Debug)]
pub(crate) struct Fetched {
    fetcher: PageFetcher,
    outcome: Result<(), FetchError>,
}

#[derive(Debug)]
pub(crate) enum ScraperMessage {
    /// It is time for the next scrape.
    Scrape,
    /// The page was fetched, or the fetch failed.
    Fetched(Result<Box<Fetched>, JoinError>),
    /// Report all known values, and use this generation from now on.
    Resend(Generation),
}

pub(crate) struct ScraperState {
    shared: Arc<Shared>,
    assigned: AssignedEndpoint,
    endpoint: ScrapedEndpoint,
    /// `None` while a background task uses it.
    fetcher: Option<PageFetcher>,
    fetch: Option<BackgroundTask>,
    gauge: EndpointGauge,
}

impl Actor for EndpointScraper {
    type Msg = ScraperMessage;
    type State = ScraperState;
    type Arguments = (Arc<Shared>, AssignedEndpoint);

    async fn pre_start(
        &self,
        myself: ActorRef<ScraperMessage>,
        (shared, assigned): Self::Arguments,
    ) -> Result<ScraperState, ActorProcessingErr> {
        let (now, scrape) = (shared.clock.now(), shared.config.scrape);
        let endpoint = ScrapedEndpoint::new(now, assigned.endpoint, &scrape);
        myself.send_after(endpoint.until_first_scrape(now), || ScraperMessage::Scrape);
        Ok(ScraperState {
            endpoint,
            fetcher: Some(PageFetcher::new(
                &assigned.metrics_url,
                assigned.metrics_tls,
                scrape,
                Arc::clone(&shared.config.page_tls),
            )),
            fetch: None,
            gauge: EndpointGauge::new(shared.metrics.clone()),
            shared,
            assigned,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ScraperMessage>,
        message: ScraperMessage,
        state: &mut ScraperState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ScraperMessage::Scrape => state.start_fetch(myself),
            ScraperMessage::Fetched(fetched) => state.handle_page(&myself, *fetched?),
            ScraperMessage::Resend(generation) => {
                state.assigned.generation = generation;
                if let Some(update) = state.endpoint.full_update() {
                    state.report(update);
                }
            }
        }
        Ok(())
    }
}

impl ScraperState {
    fn start_fetch(&mut self, myself: ActorRef<ScraperMessage>) {
        let Some(mut fetcher) = self.fetcher.take() else { return };
        let work = async move {
            let outcome = fetcher.fetch().await;
            Box::new(Fetched { fetcher, outcome })
        };
        self.fetch = Some(BackgroundTask::start(myself, work, ScraperMessage::Fetched));
    }

    fn handle_page(&mut self, myself: &ActorRef<ScraperMessage>, fetched: Fetched) {
        let Fetched { fetcher, outcome } = fetched;
        let sample = outcome.and_then(|()| fetcher.sample(&self.assigned.engine));
        self.fetcher = Some(fetcher);
        let (result, error) = match sample {
            Ok(sample) => (ScrapeResult::Sampled(sample), None),
            Err(error) => (error.scrape_result(), Some(error)),
        };
        self.shared.metrics.record_scrape(&result);
        let step = self.endpoint.record_scrape(self.shared.clock.now(), result, rand::random());
        let ScrapeStep { update, status_change, next_in } = step;
        if let Some(update) = update {
            self.report(update);
        }
        if let Some((before, after)) = status_change {
            self.gauge.set_status(after);
            self.log_status_change(before, after, error);
        }
        myself.send_after(next_in, || ScraperMessage::Scrape);
    }

    fn report(&self, update: Update) {
        let scraped_at_ms = self.endpoint.scraped_at_ms(self.shared.clock.now());
        let pending = Pending { generation: self.assigned.generation, scraped_at_ms, update };
        self.shared.outbox.put(self.assigned.endpoint, pending);
    }

    fn log_status_change(&self, before: ScrapeStatus, after: ScrapeStatus, error: Option<FetchError>) {
        let AssignedEndpoint { name: endpoint, metrics_url: url, .. } = &self.assigned;
        let (before, after) = (status_name(before), status_name(after));
        let mistake = error.as_ref().and_then(|error| error.likely_mistake(&self.assigned.engine, url));
        let shown =
            error.map(|error| mistake.map_or(error.to_string(), |mistake| format!("{error}; {mistake}")));
        match shown {
            Some(error) => tracing::warn!(%endpoint, %url, before, after, error, "scrape status changed"),
            None => tracing::info!(%endpoint, %url, before, after, "scrape status changed"),
        }
    }
}
