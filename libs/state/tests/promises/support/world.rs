//! A pool with the collectors and replicas around it, so that random steps make sense to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_state::{
    AssignedEndpoint, CollectorStream, DecodeObservation, Feedback, GaugeScope, Pool, PoolConfig, PoolEffect,
    PoolInput, Report, ResponseOutcome, ResponseReport, Update,
};
use signalbox_types::{Adapters, Capacity, EndpointKey, Gauges, Incarnation, Load, Origin, PoolSpec};

use super::steps::{COLLECTORS, Prompt, Said, Step};
use super::{endpoint, endpoint_spec, models, placement, pool_spec};

#[derive(Debug, Default)]
struct Life {
    number_of_lives: u64,
    seq: u64,
    number: u64,
    placed: BTreeMap<u64, (EndpointKey, Prompt)>,
    asked: Vec<u64>,
}

/// A pool with the collectors and replicas around it.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) pool: Pool,
    pub(crate) now_ms: u64,
    origins: BTreeMap<u64, Life>,
    streams: [Option<CollectorStream>; COLLECTORS],
    streams_opened: u64,
    pub(crate) assigned: BTreeMap<CollectorStream, Vec<AssignedEndpoint>>,
}

impl World {
    pub(crate) fn new(epoch: u64, config: PoolConfig) -> Self {
        Self {
            pool: Pool::new(epoch, PoolConfig { collector_ttl_ms: 2_000, ..config }),
            now_ms: 0,
            origins: BTreeMap::new(),
            streams: [None; COLLECTORS],
            streams_opened: 0,
            assigned: BTreeMap::new(),
        }
    }

    pub(crate) fn live(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.step(step));
    }

    pub(crate) fn step(&mut self, step: &Step) {
        let inputs = match step {
            Step::Spec(sites, models) => vec![spec(sites, *models)],
            Step::Join(collector) => vec![self.join(*collector)],
            Step::Leave(collector) => {
                self.streams[*collector].take().map(PoolInput::CollectorLeft).into_iter().collect()
            }
            Step::Report(index, said) => self.report(*index, said).into_iter().collect(),
            Step::Feedback { origin, scope, gauges, placements } => {
                vec![self.feedback(*origin, *scope, gauges, placements)]
            }
            Step::ResponseReport(origin) => vec![self.answer(*origin)],
            Step::Tick(passed_ms) => {
                self.now_ms += passed_ms;
                vec![PoolInput::Tick]
            }
        };
        inputs.into_iter().for_each(|input| self.fold(input));
    }

    fn fold(&mut self, input: PoolInput) {
        for effect in self.pool.fold(self.now_ms, input) {
            match effect {
                PoolEffect::Assign(stream, endpoints) => drop(self.assigned.insert(stream, endpoints)),
                PoolEffect::NeedChain(origin, number) => self.life(origin).asked.push(number),
                PoolEffect::Expired(origin) => {
                    let life = self.life(origin);
                    *life = Life { number_of_lives: life.number_of_lives + 1, ..Life::default() };
                }
                PoolEffect::Published(version) => assert_eq!(self.pool.journal().head(), version),
                PoolEffect::Dropped(stream) => self.dropped(stream),
                PoolEffect::Count(_) => {}
                PoolEffect::Outranked(epoch) => panic!("nobody said {epoch}"),
            }
        }
    }

    fn dropped(&mut self, dropped: CollectorStream) {
        // It may have a successor already.
        self.streams.iter_mut().filter(|stream| **stream == Some(dropped)).for_each(|stream| *stream = None);
    }

    fn life(&mut self, origin: Origin) -> &mut Life {
        self.origins.entry(origin.0 % 16).or_default()
    }

    fn origin(&mut self, index: u64) -> Origin {
        Origin(index + 16 * self.life(Origin(index)).number_of_lives)
    }

    fn join(&mut self, collector: usize) -> PoolInput {
        self.streams_opened += 1;
        let stream = CollectorStream(self.streams_opened);
        self.streams[collector] = Some(stream);
        PoolInput::CollectorJoined(stream, format!("collector-{collector}"))
    }

    fn report(&self, index: usize, said: &Said) -> Option<PoolInput> {
        let key = endpoint(index);
        let streams = self.streams.iter().flatten();
        let mut assigned =
            streams.flat_map(|stream| self.assigned.get(stream).map(|assigned| (stream, assigned)));
        let (stream, generation) = assigned.find_map(|(stream, assigned)| {
            let own = assigned.iter().find(|assigned| assigned.endpoint == key);
            own.map(|own| (*stream, own.generation))
        })?;
        let Said { incarnation, scrape_status, gauges, kv_tokens, adapter } = said;
        let adapters = |name: &u8| Adapters { slots: 2, running: vec![named(*name)], waiting: Vec::new() };
        let update = Update {
            incarnation: Incarnation(*incarnation),
            scrape_status: *scrape_status,
            gauges: gauges.map(|(waiting, running)| Gauges { waiting, running, kv_used_ppm: None }),
            capacity: kv_tokens.map(|kv_tokens| Capacity { kv_tokens }),
            adapters: adapter.as_ref().map(|adapter| Arc::new(adapters(adapter))),
            decode: gauges.map(|(waiting, running)| DecodeObservation {
                inter_token_us: 1_000 * waiting,
                running_milli: 1_000 * running,
            }),
        };
        Some(PoolInput::Reports(stream, vec![Report { endpoint: key, generation, age_ms: 1, update }]))
    }

    fn feedback(
        &mut self,
        index: u64,
        scope: GaugeScope,
        gauges: &[(usize, Load)],
        placements: &[(usize, Prompt, usize)],
    ) -> PoolInput {
        let mut sent = Vec::new();
        for (at, prompt, known) in placements {
            let incarnation = self.incarnation_of(endpoint(*at));
            let life = self.life(Origin(index));
            life.number += 1;
            life.placed.insert(life.number, (endpoint(*at), prompt.clone()));
            sent.push(placement(life.number, endpoint(*at), incarnation, prompt, (*known).min(prompt.len())));
        }
        let responses = gauges.iter().map(|(at, load)| answer(endpoint(*at), *load)).collect();
        let adapters = gauges.iter().map(|(at, load)| (endpoint(*at), named(load.requests as u8))).collect();
        let gauges = gauges.iter().map(|(at, load)| (endpoint(*at), *load)).collect();
        match self.batch(index, scope, gauges, sent) {
            PoolInput::Feedback(feedback) => {
                PoolInput::Feedback(Feedback { adapters, responses, ..feedback })
            }
            other => other,
        }
    }

    fn answer(&mut self, index: u64) -> PoolInput {
        let mut sent = Vec::new();
        for number in std::mem::take(&mut self.life(Origin(index)).asked) {
            let (at, prompt) = self.life(Origin(index)).placed[&number].clone();
            sent.push(placement(number, at, self.incarnation_of(at), &prompt, 0));
        }
        self.batch(index, GaugeScope::Changed, Vec::new(), sent)
    }

    fn batch(
        &mut self,
        index: u64,
        scope: GaugeScope,
        gauges: Vec<(EndpointKey, Load)>,
        placements: Vec<signalbox_state::Placement>,
    ) -> PoolInput {
        let origin = self.origin(index);
        let life = self.life(origin);
        life.seq += 1;
        let seq = life.seq;
        let (adapters, responses) = (Vec::new(), Vec::new());
        PoolInput::Feedback(Feedback {
            epoch: 0,
            origin,
            seq,
            scope,
            gauges,
            placements,
            adapters,
            responses,
        })
    }

    fn incarnation_of(&self, at: EndpointKey) -> Incarnation {
        self.pool.pool_state().member(at).map_or(Incarnation(0), |member| member.observed.incarnation)
    }
}

fn named(name: u8) -> Arc<str> {
    Arc::from(format!("adapter-{}", name % 6))
}

/// Some fail, some tell how long they took.
fn answer(endpoint: EndpointKey, load: Load) -> ResponseReport {
    let answered = match load.requests {
        0 | 1 => ResponseOutcome::Failed,
        requests => ResponseOutcome::FirstOutput {
            work_tokens: 1_000 * u64::from(requests),
            elapsed_us: 100_000 * load.prefill_tokens,
        },
    };
    ResponseReport { endpoint, answered }
}

fn spec(sites: &[Option<u8>], said: u8) -> PoolInput {
    let present =
        sites.iter().enumerate().filter_map(|(index, site)| site.map(|site| endpoint_spec(index, site)));
    PoolInput::Spec(PoolSpec { models: models(said), ..pool_spec(present) })
}
