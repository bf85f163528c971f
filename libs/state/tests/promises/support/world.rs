//! A pool with the collectors and replicas around it, so that random steps make sense to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_state::{
    Answer, Answered, Assigned, CollectorStream, Effect, Feedback, Input, Pace, Pool, PoolConfig, Report,
    Scope, Update,
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
    pub(crate) assigned: BTreeMap<CollectorStream, Vec<Assigned>>,
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
                self.streams[*collector].take().map(Input::CollectorLeft).into_iter().collect()
            }
            Step::Report(index, said) => self.report(*index, said).into_iter().collect(),
            Step::Feedback { origin, scope, gauges, placements } => {
                vec![self.feedback(*origin, *scope, gauges, placements)]
            }
            Step::Answer(origin) => vec![self.answer(*origin)],
            Step::Tick(passed_ms) => {
                self.now_ms += passed_ms;
                vec![Input::Tick]
            }
        };
        inputs.into_iter().for_each(|input| self.fold(input));
    }

    fn fold(&mut self, input: Input) {
        for effect in self.pool.fold(self.now_ms, input) {
            match effect {
                Effect::Assign(stream, endpoints) => drop(self.assigned.insert(stream, endpoints)),
                Effect::NeedChain(origin, number) => self.life(origin).asked.push(number),
                Effect::Expired(origin) => {
                    let life = self.life(origin);
                    *life = Life { number_of_lives: life.number_of_lives + 1, ..Life::default() };
                }
                Effect::Published(version) => assert_eq!(self.pool.journal().head(), version),
                Effect::Dropped(stream) => self.dropped(stream),
                Effect::Noted(_) => {}
                Effect::Outranked(epoch) => panic!("nobody said {epoch}"),
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

    fn join(&mut self, collector: usize) -> Input {
        self.streams_opened += 1;
        let stream = CollectorStream(self.streams_opened);
        self.streams[collector] = Some(stream);
        Input::CollectorJoined(stream, format!("collector-{collector}"))
    }

    fn report(&self, index: usize, said: &Said) -> Option<Input> {
        let key = endpoint(index);
        let streams = self.streams.iter().flatten();
        let mut assigned =
            streams.flat_map(|stream| self.assigned.get(stream).map(|assigned| (stream, assigned)));
        let (stream, generation) = assigned.find_map(|(stream, assigned)| {
            let own = assigned.iter().find(|assigned| assigned.endpoint == key);
            own.map(|own| (*stream, own.generation))
        })?;
        let Said { incarnation, reach, gauges, kv_tokens, adapter } = said;
        let adapters = |name: &u8| Adapters { slots: 2, running: vec![named(*name)], waiting: Vec::new() };
        let update = Update {
            incarnation: Incarnation(*incarnation),
            reach: *reach,
            gauges: gauges.map(|(waiting, running)| Gauges { waiting, running, kv_used_ppm: None }),
            capacity: kv_tokens.map(|kv_tokens| Capacity { kv_tokens }),
            adapters: adapter.as_ref().map(|adapter| Arc::new(adapters(adapter))),
            pace: gauges
                .map(|(waiting, running)| Pace { token_us: 1_000 * waiting, running_milli: 1_000 * running }),
        };
        Some(Input::Reports(stream, vec![Report { endpoint: key, generation, age_ms: 1, update }]))
    }

    fn feedback(
        &mut self,
        index: u64,
        scope: Scope,
        gauges: &[(usize, Load)],
        placements: &[(usize, Prompt, usize)],
    ) -> Input {
        let mut sent = Vec::new();
        for (at, prompt, known) in placements {
            let incarnation = self.incarnation_of(endpoint(*at));
            let life = self.life(Origin(index));
            life.number += 1;
            life.placed.insert(life.number, (endpoint(*at), prompt.clone()));
            sent.push(placement(life.number, endpoint(*at), incarnation, prompt, (*known).min(prompt.len())));
        }
        let answers = gauges.iter().map(|(at, load)| answer(endpoint(*at), *load)).collect();
        let adapters = gauges.iter().map(|(at, load)| (endpoint(*at), named(load.requests as u8))).collect();
        let gauges = gauges.iter().map(|(at, load)| (endpoint(*at), *load)).collect();
        match self.batch(index, scope, gauges, sent) {
            Input::Feedback(feedback) => Input::Feedback(Feedback { adapters, answers, ..feedback }),
            other => other,
        }
    }

    fn answer(&mut self, index: u64) -> Input {
        let mut sent = Vec::new();
        for number in std::mem::take(&mut self.life(Origin(index)).asked) {
            let (at, prompt) = self.life(Origin(index)).placed[&number].clone();
            sent.push(placement(number, at, self.incarnation_of(at), &prompt, 0));
        }
        self.batch(index, Scope::Changed, Vec::new(), sent)
    }

    fn batch(
        &mut self,
        index: u64,
        scope: Scope,
        gauges: Vec<(EndpointKey, Load)>,
        placements: Vec<signalbox_state::Placement>,
    ) -> Input {
        let origin = self.origin(index);
        let life = self.life(origin);
        life.seq += 1;
        let seq = life.seq;
        let (adapters, answers) = (Vec::new(), Vec::new());
        Input::Feedback(Feedback { epoch: 0, origin, seq, scope, gauges, placements, adapters, answers })
    }

    fn incarnation_of(&self, at: EndpointKey) -> Incarnation {
        self.pool.picture().member(at).map_or(Incarnation(0), |member| member.observed.incarnation)
    }
}

fn named(name: u8) -> Arc<str> {
    Arc::from(format!("adapter-{}", name % 6))
}

/// Some fail, some tell how long they took.
fn answer(endpoint: EndpointKey, load: Load) -> Answer {
    let answered = match load.requests {
        0 | 1 => Answered::Failed,
        requests => Answered::Began {
            work_tokens: 1_000 * u64::from(requests),
            took_us: 100_000 * load.prefill_tokens,
        },
    };
    Answer { endpoint, answered }
}

fn spec(sites: &[Option<u8>], said: u8) -> Input {
    let present =
        sites.iter().enumerate().filter_map(|(index, site)| site.map(|site| endpoint_spec(index, site)));
    Input::Spec(PoolSpec { models: models(said), ..pool_spec(present) })
}
