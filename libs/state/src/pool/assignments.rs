//! Assigns each endpoint to the collector that scrapes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use signalbox_prefix::EndpointMap;
use signalbox_types::{EndpointKey, EndpointSpec, Engine, Generation, MetricsTls};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A stream from a collector to the owner, numbered by the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CollectorStream(pub u64);

/// An endpoint that a collector must scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssignedEndpoint {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// The generation of the assignment. It increases whenever the endpoint is assigned to another collector,
    /// or its address, metrics URL, engine or how the page is verified changes.
    pub generation: Generation,
    /// The name of the endpoint, for logs and metrics.
    pub name: String,
    /// The URL of the metrics page.
    pub metrics_url: String,
    /// The engine, which determines how the page is parsed.
    pub engine: Engine,
    /// Whether the certificate of the page must be valid.
    pub metrics_tls: MetricsTls,
}

#[derive(Debug)]
struct Collector {
    name: Arc<str>,
    last_message_ms: u64,
}

/// Assigns each endpoint to exactly one connected collector, by rendezvous hashing over the collectors'
/// names. A collector that joins or leaves moves only the endpoints that it gains or had.
#[derive(Debug, Default)]
pub(crate) struct Assignments {
    collectors: BTreeMap<CollectorStream, Collector>,
    endpoints: EndpointMap<(Arc<EndpointSpec>, Option<CollectorStream>, Generation)>,
    latest_generation: Generation,
    /// When the last message from any collector arrived.
    last_message_ms: u64,
    /// The end of the assignment delay after a takeover. Nothing is assigned until then, because the collectors
    /// of the earlier owner are still reconnecting.
    delay_ends_ms: Option<u64>,
    /// The streams whose assignment changed with the endpoints.
    changed: BTreeSet<CollectorStream>,
    /// Which collectors were silent at the last tick (`None`: all of them), and the latest generation then.
    silence: (BTreeSet<Option<CollectorStream>>, Generation),
}

/// How long a new owner assigns no endpoint after a takeover, in milliseconds, so that the first collector to
/// connect does not get all of them.
const ASSIGNMENT_DELAY_MS: u64 = 300;

/// The maximum number of generations per epoch. It makes the generations of each owner higher than those of
/// all owners before. The generations of the highest possible epoch fit into 64 bits.
const GENERATIONS_PER_EPOCH: u64 = 1 << 20;

impl Assignments {
    /// Creates the assignments of an owner without predecessor.
    pub(crate) fn new(epoch: u64) -> Self {
        Self { latest_generation: Generation(epoch.saturating_mul(GENERATIONS_PER_EPOCH)), ..Self::default() }
    }

    /// Creates the assignments of an owner that takes over at `now_ms`.
    pub(crate) fn inherited(epoch: u64, now_ms: u64) -> Self {
        Self {
            last_message_ms: now_ms,
            delay_ends_ms: Some(now_ms + ASSIGNMENT_DELAY_MS),
            ..Self::new(epoch)
        }
    }

    /// Removes the collectors that were silent for `ttl_ms` and returns their streams.
    pub(crate) fn expire(&mut self, now_ms: u64, ttl_ms: u64) -> Vec<CollectorStream> {
        let is_silent = |collector: &Collector| now_ms.saturating_sub(collector.last_message_ms) >= ttl_ms;
        let silent = self.collectors.iter().filter(|(_, collector)| is_silent(collector));
        let silent: Vec<_> = silent.map(|(stream, _)| *stream).collect();
        silent.iter().for_each(|stream| drop(self.collectors.remove(stream)));
        silent
    }

    /// Returns the streams of all collectors.
    pub(crate) fn streams(&self) -> impl Iterator<Item = CollectorStream> {
        self.collectors.keys().copied()
    }

    /// Assigns what is unassigned after the assignment delay or because collectors were lost. Returns the
    /// streams whose assignment changed.
    pub(crate) fn reassign(&mut self, now_ms: u64, has_lost_collectors: bool) -> Vec<CollectorStream> {
        let is_due = self.delay_ends_ms.is_some_and(|at_ms| now_ms >= at_ms);
        if is_due {
            self.delay_ends_ms = None;
        }
        if !is_due && !has_lost_collectors {
            return Vec::new();
        }
        let mut changed = self.rebalance();
        if is_due {
            changed.extend(self.collectors.keys());
        }
        changed.into_iter().collect()
    }

    /// Removes the streams of the collector called `name`, which is about to connect, and returns them. The
    /// new stream may have the lowest number.
    pub(crate) fn remove_collector(&mut self, name: &str) -> Vec<CollectorStream> {
        let namesakes = self.collectors.iter().filter(|(_, collector)| &*collector.name == name);
        let replaced: Vec<_> = namesakes.map(|(stream, _)| *stream).collect();
        replaced.iter().for_each(|stream| drop(self.collectors.remove(stream)));
        replaced
    }

    /// Adds a collector that has connected. Returns the streams whose assignment changed.
    pub(crate) fn join(&mut self, now_ms: u64, stream: CollectorStream, name: &str) -> Vec<CollectorStream> {
        self.collectors.insert(stream, Collector { name: name.into(), last_message_ms: now_ms });
        self.record_message(now_ms, stream);
        let mut changed = self.rebalance();
        // During the assignment delay it gets no assignment: an empty one would make it drop endpoints that it
        // may be assigned a moment later.
        if self.delay_ends_ms.is_none() {
            changed.insert(stream);
        }
        changed.into_iter().collect()
    }

    /// Removes a stream that has ended. Returns the streams whose assignment changed.
    pub(crate) fn leave(&mut self, stream: CollectorStream) -> Vec<CollectorStream> {
        self.collectors.remove(&stream);
        self.rebalance().into_iter().collect()
    }

    /// Adds an endpoint, or replaces its specification. [`Self::take_changed`] returns whose assignment that changes.
    pub(crate) fn set_endpoint(&mut self, endpoint: EndpointKey, spec: &Arc<EndpointSpec>) {
        let (stream, before) = match self.endpoints.get(&endpoint) {
            Some((old, stream, generation)) if reads_the_same(old, spec) => {
                let (stream, generation) = (*stream, *generation);
                self.endpoints.insert(endpoint, (Arc::clone(spec), stream, generation));
                return;
            }
            Some((_, stream, generation)) => (*stream, *generation),
            None => {
                let stream = best_of(&self.collectors, endpoint).filter(|_| self.delay_ends_ms.is_none());
                (stream, Generation::default())
            }
        };
        // Endpoints that change together share a generation: there are not enough for one each in a large pool.
        if stream.is_some() && (self.changed.is_empty() || before >= self.latest_generation) {
            self.latest_generation = self.latest_generation.next();
        }
        self.changed.extend(stream);
        let generation = stream.map_or(before, |_| self.latest_generation);
        self.endpoints.insert(endpoint, (Arc::clone(spec), stream, generation));
    }

    /// Removes an endpoint. [`Self::take_changed`] returns whose assignment that changes.
    pub(crate) fn remove_endpoint(&mut self, endpoint: EndpointKey) {
        let Some((_, stream, generation)) = self.endpoints.remove(&endpoint) else { return };
        // If it is added again before its collector is told, it must not have the generation that it had.
        if generation >= self.latest_generation {
            self.latest_generation = self.latest_generation.next();
        }
        self.changed.extend(stream);
    }

    /// Returns the streams whose assignment changed with the endpoints since the last call.
    pub(crate) fn take_changed(&mut self) -> Vec<CollectorStream> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.filter(|stream| self.collectors.contains_key(stream)).collect()
    }

    /// Treats the last `late_ms` until `now_ms` as if they had not passed, when the silence of collectors is measured.
    pub(crate) fn excuse(&mut self, now_ms: u64, late_ms: u64) {
        let of_collectors = self.collectors.values_mut().map(|collector| &mut collector.last_message_ms);
        for last_message_ms in of_collectors.chain([&mut self.last_message_ms]) {
            *last_message_ms = last_message_ms.saturating_add(late_ms).min(now_ms);
        }
    }

    /// Returns whether endpoints may have become unreported since the last call: a collector has been silent for
    /// `silence_ms`, and it was not then, or other endpoints are assigned to it.
    pub(crate) fn has_new_silence(&mut self, now_ms: u64, silence_ms: u64) -> bool {
        let is_silent = |last_message_ms: u64| now_ms.saturating_sub(last_message_ms) >= silence_ms;
        let collectors =
            self.collectors.iter().map(|(stream, collector)| (Some(*stream), collector.last_message_ms));
        let all = collectors.chain([(None, self.last_message_ms)]);
        let silent = all.filter(|(_, last_message_ms)| is_silent(*last_message_ms)).map(|(of, _)| of);
        let now = (silent.collect(), self.latest_generation);
        let before = std::mem::replace(&mut self.silence, now);
        !self.silence.0.is_empty() && self.silence != before
    }

    /// Records that a message arrived on `stream`.
    pub(crate) fn record_message(&mut self, now_ms: u64, stream: CollectorStream) {
        if let Some(collector) = self.collectors.get_mut(&stream) {
            collector.last_message_ms = now_ms;
            self.last_message_ms = now_ms;
        }
    }

    /// Returns whether a sample of `endpoint` that arrived on `stream` was taken under the current
    /// assignment.
    pub(crate) fn is_current(
        &self,
        stream: CollectorStream,
        endpoint: EndpointKey,
        generation: Generation,
    ) -> bool {
        let assigned = self.endpoints.get(&endpoint);
        assigned.is_some_and(|(_, on, current)| *on == Some(stream) && *current == generation)
    }

    /// Returns whether no collector has sent a message for `endpoint` for `silence_ms`, as of the last call of
    /// [`Self::has_new_silence`].
    pub(crate) fn is_unreported(&self, now_ms: u64, endpoint: EndpointKey, silence_ms: u64) -> bool {
        if self.silence.0.is_empty() {
            return false;
        }
        let stream = self.endpoints.get(&endpoint).and_then(|(_, stream, _)| *stream);
        let collector = stream.and_then(|stream| self.collectors.get(&stream));
        let last_message_ms = collector.map_or(self.last_message_ms, |collector| collector.last_message_ms);
        now_ms.saturating_sub(last_message_ms) >= silence_ms
    }

    /// Returns whether a stream is connected.
    pub(crate) fn contains(&self, stream: CollectorStream) -> bool {
        self.collectors.contains_key(&stream)
    }

    /// Returns all endpoints assigned to the collector on `stream`, ordered by key.
    pub(crate) fn endpoints_of(&self, stream: CollectorStream) -> Vec<AssignedEndpoint> {
        let own = self.endpoints.iter().filter(|(_, (_, on, _))| *on == Some(stream));
        let mut own: Vec<_> =
            own.map(|(endpoint, (spec, _, generation))| (endpoint, spec, generation)).collect();
        own.sort_unstable_by_key(|(endpoint, _, _)| **endpoint);
        let assigned = own.into_iter().map(|(endpoint, spec, generation)| AssignedEndpoint {
            endpoint: *endpoint,
            generation: *generation,
            name: spec.name.clone(),
            metrics_url: spec.metrics_url.clone(),
            engine: spec.engine.clone(),
            metrics_tls: spec.metrics_tls,
        });
        assigned.collect()
    }

    /// Assigns each endpoint to its collector and returns the streams whose assignment changed.
    fn rebalance(&mut self) -> BTreeSet<CollectorStream> {
        let mut changed = BTreeSet::new();
        if self.delay_ends_ms.is_some() {
            return changed;
        }
        let generation_before = self.latest_generation;
        for (endpoint, (_, assigned, generation)) in &mut self.endpoints {
            let best = best_of(&self.collectors, *endpoint);
            if best != *assigned {
                changed.extend(assigned.filter(|stream| self.collectors.contains_key(stream)));
                changed.extend(best);
                self.latest_generation = generation_before.next();
                (*assigned, *generation) = (best, self.latest_generation);
            }
        }
        changed.retain(|stream| self.collectors.contains_key(stream));
        changed
    }
}

/// Returns the collector that scrapes `endpoint`, by rendezvous hashing.
fn best_of(
    collectors: &BTreeMap<CollectorStream, Collector>,
    endpoint: EndpointKey,
) -> Option<CollectorStream> {
    let hash = |collector: &Collector| xxh3_64_with_seed(collector.name.as_bytes(), endpoint.0);
    collectors.iter().max_by_key(|(_, collector)| hash(collector)).map(|(stream, _)| *stream)
}

/// Returns whether scrapes under `old` read the same values as those under `new`.
fn reads_the_same(old: &EndpointSpec, new: &EndpointSpec) -> bool {
    old.address == new.address
        && old.metrics_url == new.metrics_url
        && old.engine == new.engine
        && old.metrics_tls == new.metrics_tls
}
