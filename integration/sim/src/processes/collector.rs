//! Simulates a collector: it scrapes its assigned endpoints and reports what changed.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use signalbox_state::{AssignedEndpoint, EndpointObserver, Report, ScrapeStatus, Update};
use signalbox_types::{EndpointKey, Generation, KnownEpoch};

use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload, StreamKind};
use crate::counters::Counter;
use crate::plan::Node;

const STALE_AFTER_MS: u64 = 1_000;
const SCRAPE_INTERVAL_MS: u64 = 150;
const KEEPALIVE_INTERVAL_MS: u64 = 400;
const ASSIGNMENT_DEADLINE_MS: u64 = 2_000;
const CHECK_STREAMS_MS: u64 = 500;

/// An endpoint that the collector scrapes.
#[derive(Debug)]
struct Target {
    assigned: AssignedEndpoint,
    observer: EndpointObserver,
}

/// A change that was not reported yet.
#[derive(Debug)]
struct PendingReport {
    generation: Generation,
    scraped_at_ms: u64,
    update: Update,
}

/// The stream to an aggregator.
#[derive(Debug)]
struct Connection {
    stream: u64,
    is_open: bool,
    is_assigned: bool,
}

/// A collector.
#[derive(Debug)]
pub(crate) struct Collector {
    node: Node,
    targets: BTreeMap<EndpointKey, Target>,
    pending: BTreeMap<EndpointKey, PendingReport>,
    connection: Option<Connection>,
    /// How often the collector has tried to connect. The attempts go round all aggregators.
    attempts: usize,
    run: u32,
    known_epoch: KnownEpoch,
    sent_at_ms: u64,
    /// The endpoints whose scrapers crash.
    crashing: BTreeSet<EndpointKey>,
    /// Since when the scraper of each assigned endpoint has been crashing, in microseconds of the simulation.
    crashed_since_us: BTreeMap<EndpointKey, u64>,
}

impl Collector {
    pub(crate) fn start(cluster: &mut Cluster, node: Node, run: u32) -> Self {
        cluster.set_timer(node, 0, Timer::Connect(0));
        cluster.set_timer(node, 10, Timer::Scrape);
        cluster.set_timer(node, CHECK_STREAMS_MS, Timer::CheckStreams);
        let (targets, pending) = (BTreeMap::new(), BTreeMap::new());
        Self {
            node,
            targets,
            pending,
            connection: None,
            attempts: 0,
            run,
            known_epoch: KnownEpoch::default(),
            sent_at_ms: 0,
            crashing: BTreeSet::new(),
            crashed_since_us: BTreeMap::new(),
        }
    }

    /// Returns the endpoints that the collector scrapes, with their generations; none without a stream that
    /// has assigned some.
    pub(crate) fn assigned_endpoints(&self) -> impl Iterator<Item = (EndpointKey, Generation)> {
        let is_assigned = self.connection.as_ref().is_some_and(|connection| connection.is_assigned);
        let targets = self.targets.iter().filter(move |_| is_assigned);
        targets.map(|(endpoint, target)| (*endpoint, target.assigned.generation))
    }

    pub(crate) fn on_timer(&mut self, cluster: &mut Cluster, timer: Timer) {
        match timer {
            Timer::Connect(_) => self.connect(cluster),
            Timer::Scrape => {
                self.scrape_all(cluster);
                self.send_reports(cluster);
                cluster.set_timer(self.node, SCRAPE_INTERVAL_MS, Timer::Scrape);
            }
            Timer::CheckStreams => {
                for stream in cluster.unresponsive_streams(self.node) {
                    self.disconnect(cluster, stream);
                }
                cluster.set_timer(self.node, CHECK_STREAMS_MS, Timer::CheckStreams);
            }
            Timer::AssignmentDeadline(stream)
                if self.connection.as_ref().is_some_and(|connection| !connection.is_assigned) =>
            {
                self.disconnect(cluster, stream);
            }
            _ => {}
        }
    }

    pub(crate) fn on_message(&mut self, cluster: &mut Cluster, stream: u64, payload: Payload) {
        let Some(connection) = self.connection.as_mut().filter(|connection| connection.stream == stream)
        else {
            return;
        };
        match payload {
            Payload::Opened => {
                connection.is_open = true;
                cluster.send(stream, End::Server, Payload::Join(self.node.to_string()));
                cluster.set_timer(self.node, ASSIGNMENT_DEADLINE_MS, Timer::AssignmentDeadline(stream));
            }
            Payload::Assignments(epoch, endpoints) => {
                if !self.known_epoch.hear(epoch) {
                    return cluster.counters.increment(Counter::EpochRefused);
                }
                cluster.checker.check_epoch((self.node, self.run), epoch);
                if epoch < self.known_epoch.highest() {
                    return;
                }
                let is_new_stream = !std::mem::replace(&mut connection.is_assigned, true);
                self.assign(cluster, endpoints, is_new_stream);
            }
            Payload::Closed => self.disconnect(cluster, stream),
            _ => {}
        }
    }

    fn connect(&mut self, cluster: &mut Cluster) {
        if self.connection.is_some() {
            return;
        }
        self.attempts += 1;
        let at = self.attempts % cluster.plan.aggregators;
        match cluster.open(StreamKind::Collect, self.node, Node::Aggregator(at)) {
            Some(stream) => {
                self.connection = Some(Connection { stream, is_open: false, is_assigned: false });
            }
            None => self.reconnect_later(cluster),
        }
    }

    fn reconnect_later(&self, cluster: &mut Cluster) {
        let after_ms = cluster.queue.rng.random_range(25..250);
        cluster.set_timer(self.node, after_ms, Timer::Connect(0));
    }

    fn disconnect(&mut self, cluster: &mut Cluster, stream: u64) {
        if self.connection.take_if(|connection| connection.stream == stream).is_some() {
            cluster.close(stream, End::Client);
            self.reconnect_later(cluster);
        }
    }

    /// Replaces the assigned endpoints. Endpoints that stay assigned keep their observations.
    fn assign(&mut self, cluster: &mut Cluster, endpoints: Vec<AssignedEndpoint>, is_new_stream: bool) {
        let now_ms = cluster.now_ms(self.node);
        let mut before = std::mem::take(&mut self.targets);
        for assigned in endpoints {
            let key = assigned.endpoint;
            let known =
                before.remove(&key).filter(|target| target.assigned.metrics_url == assigned.metrics_url);
            let is_new_generation =
                known.as_ref().is_none_or(|target| target.assigned.generation != assigned.generation);
            let observer =
                known.map_or_else(|| EndpointObserver::new(now_ms, STALE_AFTER_MS), |target| target.observer);
            if let Some(update) = observer.full_update().filter(|_| is_new_generation || is_new_stream) {
                let scraped_at_ms = now_ms - observer.age_ms(now_ms).min(now_ms);
                let generation = assigned.generation;
                self.pending.insert(key, PendingReport { generation, scraped_at_ms, update });
            }
            self.targets.insert(key, Target { assigned, observer });
        }
        self.crashed_since_us.retain(|key, _| self.targets.contains_key(key));
    }

    /// Lets the scraper of an endpoint crash whenever it is started, or ends that.
    pub(crate) fn set_crashing(&mut self, endpoint: EndpointKey, is_crashing: bool) {
        if is_crashing {
            self.crashing.insert(endpoint);
        } else {
            self.crashing.remove(&endpoint);
            self.crashed_since_us.remove(&endpoint);
        }
    }

    /// Returns whether the collector was assigned an endpoint and its scraper has been crashing since `since_us`.
    pub(crate) fn has_crashed_since(&self, endpoint: EndpointKey, since_us: u64) -> bool {
        self.assigned_endpoints().any(|(key, _)| key == endpoint)
            && self.crashed_since_us.get(&endpoint).is_some_and(|crashed_us| *crashed_us <= since_us)
    }

    fn scrape_all(&mut self, cluster: &mut Cluster) {
        let now_ms = cluster.now_ms(self.node);
        for (key, Target { assigned, observer }) in &mut self.targets {
            let update = if self.crashing.contains(key) {
                cluster.counters.increment(Counter::ScraperCrash);
                self.crashed_since_us.entry(*key).or_insert(cluster.queue.now_us());
                *observer = EndpointObserver::new(now_ms, STALE_AFTER_MS);
                // The supervisor says that nobody scrapes the endpoint.
                Some(Update { scrape_status: ScrapeStatus::Stale, ..Update::default() })
            } else {
                observer.observe(now_ms, cluster.pods.scrape(*key))
            };
            let Some(update) = update else { continue };
            let generation = assigned.generation;
            match self.pending.get_mut(key).filter(|pending| pending.generation == generation) {
                Some(pending) => {
                    pending.scraped_at_ms = now_ms;
                    pending.update.merge(update);
                }
                None => {
                    let report = PendingReport { generation, scraped_at_ms: now_ms, update };
                    self.pending.insert(*key, report);
                }
            }
        }
    }

    /// Sends all pending reports. Sends an empty message when nothing was sent for a while, as keep-alive.
    fn send_reports(&mut self, cluster: &mut Cluster) {
        let now_ms = cluster.now_ms(self.node);
        let Some(connection) = self.connection.as_ref().filter(|connection| connection.is_open) else {
            return;
        };
        if self.pending.is_empty() && now_ms.saturating_sub(self.sent_at_ms) < KEEPALIVE_INTERVAL_MS {
            return;
        }
        self.sent_at_ms = now_ms;
        let pending = std::mem::take(&mut self.pending).into_iter();
        let reports = pending.map(|(endpoint, PendingReport { generation, scraped_at_ms, update })| Report {
            endpoint,
            generation,
            age_ms: now_ms.saturating_sub(scraped_at_ms),
            update,
        });
        cluster.send(
            connection.stream,
            End::Server,
            Payload::Reports(self.known_epoch.highest(), reports.collect()),
        );
    }
}
