//! Which collector reads which endpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signalbox_types::{EndpointKey, EndpointSpec, Engine, Generation};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One connection of a collector to the owner, numbered by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectorStream(pub u64);

/// An endpoint that a collector shall read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedEndpoint {
    /// Which.
    pub endpoint: EndpointKey,
    /// Grows each time that the endpoint goes to another collector or is to be read elsewhere or otherwise.
    pub generation: Generation,
    /// Its name, for logs and metrics.
    pub name: String,
    /// Where its metrics page is.
    pub metrics_url: String,
    /// How the page is read.
    pub engine: Engine,
}

#[derive(Debug)]
struct Collector {
    name: Arc<str>,
    heard_at_ms: u64,
}

/// Each endpoint on exactly one of the connected collectors, by rendezvous hashing over the collectors' names: one that
/// comes or goes moves only the endpoints that it gains or had.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    collectors: BTreeMap<CollectorStream, Collector>,
    endpoints: BTreeMap<EndpointKey, (Arc<EndpointSpec>, Option<CollectorStream>, Generation)>,
    latest: Generation,
    /// When any collector last spoke.
    heard_at_ms: u64,
    /// Until then nothing is assigned: the collectors of the owner before are on their way.
    settles_at_ms: Option<u64>,
}

/// How long an owner that took over waits for collectors, so that the first one to come is not given all endpoints.
const SETTLE_MS: u64 = 300;

/// Generations of one epoch, at most: each owner's are above those of all before.
const GENERATIONS_PER_EPOCH: u64 = 1 << 20;

impl Assignments {
    /// Of an owner that begins.
    pub(crate) fn under(epoch: u64) -> Self {
        Self { latest: Generation(epoch.saturating_mul(GENERATIONS_PER_EPOCH)), ..Self::default() }
    }

    /// Of an owner that takes over at `now_ms`.
    pub(crate) fn inherited(epoch: u64, now_ms: u64) -> Self {
        Self { heard_at_ms: now_ms, settles_at_ms: Some(now_ms + SETTLE_MS), ..Self::under(epoch) }
    }

    /// Forgets collectors that have been silent for `ttl_ms` and says which.
    pub(crate) fn expire(&mut self, now_ms: u64, ttl_ms: u64) -> Vec<CollectorStream> {
        let is_silent = |collector: &Collector| now_ms.saturating_sub(collector.heard_at_ms) >= ttl_ms;
        let silent = self.collectors.iter().filter(|(_, collector)| is_silent(collector));
        let silent: Vec<_> = silent.map(|(stream, _)| *stream).collect();
        silent.iter().for_each(|stream| drop(self.collectors.remove(stream)));
        silent
    }

    /// Assigns what could not be assigned before, or belongs to collectors that are gone. Returns whom to tell.
    pub(crate) fn settle(&mut self, now_ms: u64, are_some_gone: bool) -> Vec<CollectorStream> {
        let is_due = self.settles_at_ms.is_some_and(|at_ms| now_ms >= at_ms);
        if is_due {
            self.settles_at_ms = None;
        }
        if !is_due && !are_some_gone {
            return Vec::new();
        }
        let mut changed = self.rebalance();
        if is_due {
            changed.extend(self.collectors.keys());
        }
        changed.into_iter().collect()
    }

    /// A collector is about to connect; other connections of the same name are void, and said. The one to come may well be the oldest.
    pub(crate) fn replace(&mut self, name: &str) -> Vec<CollectorStream> {
        let namesakes = self.collectors.iter().filter(|(_, collector)| &*collector.name == name);
        let void: Vec<_> = namesakes.map(|(stream, _)| *stream).collect();
        void.iter().for_each(|stream| drop(self.collectors.remove(stream)));
        void
    }

    /// A collector has connected. Returns whom to tell.
    pub(crate) fn join(&mut self, now_ms: u64, stream: CollectorStream, name: &str) -> Vec<CollectorStream> {
        self.collectors.insert(stream, Collector { name: name.into(), heard_at_ms: now_ms });
        self.heard(now_ms, stream);
        let mut changed = self.rebalance();
        // Told that it shall read nothing, it would leave what it may well be told to read in a moment.
        if self.settles_at_ms.is_none() {
            changed.insert(stream);
        }
        changed.into_iter().collect()
    }

    /// A collector's connection is gone. Returns whom to tell.
    pub(crate) fn leave(&mut self, stream: CollectorStream) -> Vec<CollectorStream> {
        self.collectors.remove(&stream);
        self.rebalance().into_iter().collect()
    }

    /// The pool has these endpoints now. Returns whom to tell.
    pub(crate) fn set_endpoints(
        &mut self,
        specs: BTreeMap<EndpointKey, Arc<EndpointSpec>>,
    ) -> Vec<CollectorStream> {
        let mut before = std::mem::take(&mut self.endpoints);
        let mut changed = BTreeSet::new();
        for (endpoint, spec) in specs {
            let (assigned, generation) = match before.remove(&endpoint) {
                Some((old, stream, generation)) if is_read_alike(&old, &spec) => (stream, generation),
                Some((_, stream, _)) => {
                    changed.extend(stream);
                    self.latest.0 += 1;
                    (stream, self.latest)
                }
                None => (None, Generation::default()),
            };
            self.endpoints.insert(endpoint, (spec, assigned, generation));
        }
        changed.extend(before.into_values().filter_map(|(_, stream, _)| stream));
        changed.extend(self.rebalance());
        changed.into_iter().collect()
    }

    /// A message came on `stream`.
    pub(crate) fn heard(&mut self, now_ms: u64, stream: CollectorStream) {
        if let Some(collector) = self.collectors.get_mut(&stream) {
            collector.heard_at_ms = now_ms;
            self.heard_at_ms = now_ms;
        }
    }

    /// Whether a reading of `endpoint` that came on `stream` was made under the assignment in force.
    pub(crate) fn is_current(
        &self,
        stream: CollectorStream,
        endpoint: EndpointKey,
        generation: Generation,
    ) -> bool {
        let assigned = self.endpoints.get(&endpoint);
        assigned.is_some_and(|(_, on, current)| *on == Some(stream) && *current == generation)
    }

    /// Whether nobody has spoken for `endpoint` for `silence_ms`.
    pub(crate) fn is_unread(&self, now_ms: u64, endpoint: EndpointKey, silence_ms: u64) -> bool {
        let stream = self.endpoints.get(&endpoint).and_then(|(_, stream, _)| *stream);
        let collector = stream.and_then(|stream| self.collectors.get(&stream));
        let heard_at_ms = collector.map_or(self.heard_at_ms, |collector| collector.heard_at_ms);
        now_ms.saturating_sub(heard_at_ms) >= silence_ms
    }

    /// All that the collector on `stream` shall read.
    pub(crate) fn of(&self, stream: CollectorStream) -> Vec<AssignedEndpoint> {
        let own = self.endpoints.iter().filter(|(_, (_, on, _))| *on == Some(stream));
        own.map(|(endpoint, (spec, _, generation))| AssignedEndpoint {
            endpoint: *endpoint,
            generation: *generation,
            name: spec.name.clone(),
            metrics_url: spec.metrics_url.clone(),
            engine: spec.engine,
        })
        .collect()
    }

    /// Puts each endpoint on its collector and says whose assignment changed.
    fn rebalance(&mut self) -> BTreeSet<CollectorStream> {
        let mut changed = BTreeSet::new();
        if self.settles_at_ms.is_some() {
            return changed;
        }
        for (endpoint, (_, assigned, generation)) in &mut self.endpoints {
            let best = self
                .collectors
                .iter()
                .max_by_key(|(_, collector)| xxh3_64_with_seed(collector.name.as_bytes(), endpoint.0));
            let best = best.map(|(stream, _)| *stream);
            if best != *assigned {
                changed.extend(assigned.filter(|stream| self.collectors.contains_key(stream)));
                changed.extend(best);
                self.latest.0 += 1;
                (*assigned, *generation) = (best, self.latest);
            }
        }
        changed.retain(|stream| self.collectors.contains_key(stream));
        changed
    }
}

/// Whether readings made by `old` say the same of the endpoint as those made by `new`.
fn is_read_alike(old: &EndpointSpec, new: &EndpointSpec) -> bool {
    old.address == new.address && old.metrics_url == new.metrics_url && old.engine == new.engine
}
