//! The shell of a collector: it reads what it is assigned and reports what changed.

use std::collections::BTreeMap;

use rand::Rng;
use signalbox_state::{AssignedEndpoint, EndpointObserver, Report, Update};
use signalbox_types::{EndpointKey, Generation};

use crate::network::{End, Kind, Payload};
use crate::plan::Node;
use crate::queue::Timer;
use crate::site::Site;

const STALE_AFTER_MS: u64 = 1_000;
const READ_EVERY_MS: u64 = 150;
const SIGN_OF_LIFE_MS: u64 = 400;
const ASSIGN_DEADLINE_MS: u64 = 2_000;

#[derive(Debug)]
struct Read {
    assigned: AssignedEndpoint,
    endpoint: EndpointObserver,
}

#[derive(Debug)]
struct Pending {
    generation: Generation,
    read_at_ms: u64,
    update: Update,
}

#[derive(Debug)]
struct Link {
    stream: u64,
    is_open: bool,
    is_assigned: bool,
}

/// A collector.
#[derive(Debug)]
pub(crate) struct Collector {
    node: Node,
    read: BTreeMap<EndpointKey, Read>,
    waiting: BTreeMap<EndpointKey, Pending>,
    link: Option<Link>,
    /// The aggregator whose turn it is.
    turn: usize,
    epoch: u64,
    sent_at_ms: u64,
}

impl Collector {
    pub(crate) fn start(site: &mut Site, node: Node) -> Self {
        site.timer(node, 0, Timer::Connect(0));
        site.timer(node, 10, Timer::Read);
        site.timer(node, 500, Timer::Watch);
        let (read, waiting) = (BTreeMap::new(), BTreeMap::new());
        Self { node, read, waiting, link: None, turn: 0, epoch: 0, sent_at_ms: 0 }
    }

    /// What it reads, and under which generation; nothing without a stream.
    pub(crate) fn reads(&self) -> impl Iterator<Item = (EndpointKey, Generation)> {
        let read = self.read.iter().filter(|_| self.link.as_ref().is_some_and(|link| link.is_assigned));
        read.map(|(endpoint, read)| (*endpoint, read.assigned.generation))
    }

    pub(crate) fn timer(&mut self, site: &mut Site, timer: Timer) {
        match timer {
            Timer::Connect(_) => self.connect(site),
            Timer::Read => {
                self.read_all(site);
                self.flush(site);
                site.timer(self.node, READ_EVERY_MS, Timer::Read);
            }
            Timer::Watch => {
                for stream in site.out_of_contact(self.node) {
                    self.left(site, stream);
                }
                site.timer(self.node, 500, Timer::Watch);
            }
            Timer::AssignDeadline(stream) if self.link.as_ref().is_some_and(|link| !link.is_assigned) => {
                self.left(site, stream);
            }
            _ => {}
        }
    }

    pub(crate) fn message(&mut self, site: &mut Site, stream: u64, payload: Payload) {
        let Some(link) = self.link.as_mut().filter(|link| link.stream == stream) else { return };
        match payload {
            Payload::Opened => {
                link.is_open = true;
                site.send(stream, End::Server, Payload::Join(self.node.to_string()));
                site.timer(self.node, ASSIGN_DEADLINE_MS, Timer::AssignDeadline(stream));
            }
            Payload::Directive(epoch, endpoints) if epoch >= self.epoch => {
                self.epoch = epoch;
                let is_new_stream = !std::mem::replace(&mut link.is_assigned, true);
                self.assign(site, endpoints, is_new_stream);
            }
            Payload::Closed => self.left(site, stream),
            _ => {}
        }
    }

    fn connect(&mut self, site: &mut Site) {
        if self.link.is_some() {
            return;
        }
        self.turn += 1;
        let at = self.turn % site.plan.aggregators;
        match site.open(Kind::Collect, self.node, Node::Aggregator(at)) {
            Some(stream) => self.link = Some(Link { stream, is_open: false, is_assigned: false }),
            None => self.again(site),
        }
    }

    fn again(&self, site: &mut Site) {
        let after_ms = site.queue.dice.random_range(25..250);
        site.timer(self.node, after_ms, Timer::Connect(0));
    }

    fn left(&mut self, site: &mut Site, stream: u64) {
        if self.link.take_if(|link| link.stream == stream).is_some() {
            site.close(stream, End::Client);
            self.again(site);
        }
    }

    fn assign(&mut self, site: &mut Site, endpoints: Vec<AssignedEndpoint>, is_new_stream: bool) {
        let now_ms = site.now_ms(self.node);
        let mut before = std::mem::take(&mut self.read);
        for assigned in endpoints {
            let key = assigned.endpoint;
            let known = before.remove(&key).filter(|read| read.assigned.metrics_url == assigned.metrics_url);
            let is_news = known.as_ref().is_none_or(|read| read.assigned.generation != assigned.generation);
            let endpoint =
                known.map_or_else(|| EndpointObserver::new(now_ms, STALE_AFTER_MS), |read| read.endpoint);
            if let Some(update) = endpoint.whole().filter(|_| is_news || is_new_stream) {
                let read_at_ms = now_ms - endpoint.age_ms(now_ms).min(now_ms);
                self.waiting.insert(key, Pending { generation: assigned.generation, read_at_ms, update });
            }
            self.read.insert(key, Read { assigned, endpoint });
        }
    }

    fn read_all(&mut self, site: &Site) {
        let now_ms = site.now_ms(self.node);
        for (key, Read { assigned, endpoint }) in &mut self.read {
            let Some(update) = endpoint.observe(now_ms, site.pods.read(*key)) else { continue };
            let generation = assigned.generation;
            match self.waiting.get_mut(key).filter(|waiting| waiting.generation == generation) {
                Some(waiting) => {
                    waiting.read_at_ms = now_ms;
                    waiting.update.merge(update);
                }
                None => {
                    self.waiting.insert(*key, Pending { generation, read_at_ms: now_ms, update });
                }
            }
        }
    }

    fn flush(&mut self, site: &mut Site) {
        let now_ms = site.now_ms(self.node);
        let Some(link) = self.link.as_ref().filter(|link| link.is_open) else { return };
        if self.waiting.is_empty() && now_ms.saturating_sub(self.sent_at_ms) < SIGN_OF_LIFE_MS {
            return;
        }
        self.sent_at_ms = now_ms;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        let reports = waiting.map(|(endpoint, Pending { generation, read_at_ms, update })| Report {
            endpoint,
            generation,
            age_ms: now_ms.saturating_sub(read_at_ms),
            update,
        });
        site.send(link.stream, End::Server, Payload::Reports(self.epoch, reports.collect()));
    }
}
