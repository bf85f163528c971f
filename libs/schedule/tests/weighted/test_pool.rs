//! A pool of test pods, and helpers that apply a policy to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_schedule::{
    DecisionInputs, Explanation, Filter, FilterStep, Picker, Policy, Scorer, ScorerStep, Weighted, explain,
};
use signalbox_state::{
    AdapterResidency, Circuit, EndpointState, LocalState, Observed, PrefixMatches, ScrapeStatus, View,
};
use signalbox_types::{Adapters, EndpointSpec, Engine, Gauges, Load, MetricsTls, Origin, Request};

const OWN_ORIGIN: Origin = Origin(1);

/// One pod. By default its values are fresh, it is idle and its cache is empty.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) scrape_status: ScrapeStatus,
    pub(crate) circuit: Circuit,
    pub(crate) waiting: u32,
    pub(crate) is_asleep: bool,
    pub(crate) is_draining: bool,
    pub(crate) running: Option<u32>,
    pub(crate) kv_used_ppm: Option<u32>,
    pub(crate) own: Load,
    pub(crate) others: Load,
    pub(crate) held_blocks: usize,
    pub(crate) cold_placement_seq: u64,
    pub(crate) adapters: Option<Adapters>,
    pub(crate) labels: Vec<(&'static str, &'static str)>,
}

impl Default for Pod {
    fn default() -> Self {
        Self {
            scrape_status: ScrapeStatus::Fresh,
            circuit: Circuit::Closed,
            waiting: 0,
            is_asleep: false,
            is_draining: false,
            running: Some(0),
            kv_used_ppm: Some(0),
            own: Load::ZERO,
            others: Load::ZERO,
            held_blocks: 0,
            cold_placement_seq: 0,
            adapters: None,
            labels: Vec::new(),
        }
    }
}

/// Pods called pod-0, pod-1, … at 10.0.0.1:8000, 10.0.0.2:8000, …, and a request with a prompt of 64-token
/// blocks.
pub(crate) struct TestPool {
    pub(crate) view: View,
    pub(crate) local: LocalState,
    matches: PrefixMatches,
    pub(crate) request: Request,
}

impl TestPool {
    pub(crate) fn new(pods: &[Pod], prompt_blocks: usize) -> Self {
        let mut view = View::default();
        view.endpoints = pods.iter().enumerate().map(|(at, pod)| Arc::new(endpoint(at, pod))).collect();
        let own = pods.iter().map(|pod| pod.own).collect();
        let blocks = pods.iter().map(|pod| pod.held_blocks).collect();
        Self {
            view,
            local: LocalState {
                origin: OWN_ORIGIN,
                own,
                peers: pods.iter().map(|pod| pod.others).collect(),
                prefilling_ms: Vec::new(),
                adapter_sent_to: Default::default(),
                probed: Default::default(),
                unserved: Vec::new(),
            },
            matches: PrefixMatches { blocks, total: prompt_blocks },
            request: Request {
                model: "m".to_owned(),
                prompt_tokens: 64 * prompt_blocks as u64,
                ..Request::default()
            },
        }
    }

    /// Returns the pool without the pods that are draining.
    pub(crate) fn without_draining(mut self) -> Self {
        let is_kept: Vec<_> = self.view.endpoints.iter().map(|pod| !pod.spec.is_draining).collect();
        let kept = || (0..is_kept.len()).filter(|at| is_kept[*at]);
        self.local.own = kept().map(|at| self.local.own[at]).collect();
        self.local.peers = kept().map(|at| self.local.peers[at]).collect();
        self.matches.blocks = kept().map(|at| self.matches.blocks[at]).collect();
        self.view.endpoints = kept().map(|at| Arc::clone(&self.view.endpoints[at])).collect();
        self
    }

    pub(crate) fn inputs(&self) -> DecisionInputs<'_> {
        DecisionInputs {
            view: &self.view,
            local: &self.local,
            matches: &self.matches,
            request: &self.request,
        }
    }

    pub(crate) fn explain(&self, policy: Weighted, seed: u64) -> Explanation {
        explain(&self.inputs(), &Policy::Weighted(policy), (0, seed)).1
    }

    /// Returns the score of each pod, in order.
    pub(crate) fn scores(&self, scorer: Scorer) -> Vec<f64> {
        let explanation = self.explain(weighted(&[], &[(scorer, 1.0)], Picker::MaxScore), 1);
        let score = |name: String| {
            explanation.candidates.iter().find(|candidate| candidate.endpoint == name).unwrap().scores[0]
                .score
        };
        (0..self.view.endpoints.len()).map(|at| score(format!("pod-{at}"))).collect()
    }

    /// Returns the pods that `filter` keeps.
    pub(crate) fn kept(&self, filter: Filter) -> Vec<usize> {
        let explanation = self.explain(weighted(&[filter], &[], Picker::MaxScore), 1);
        let kept = |at: &usize| {
            let name = format!("pod-{at}");
            explanation.candidates.iter().any(|pod| pod.endpoint == name && pod.removed_by.is_none())
        };
        (0..self.view.endpoints.len()).filter(kept).collect()
    }
}

pub(crate) fn weighted(filters: &[Filter], scorers: &[(Scorer, f64)], picker: Picker) -> Weighted {
    let name = |kind: &str, at: usize| format!("{kind}-{at}");
    let filters = filters.iter().enumerate();
    let scorers = scorers.iter().enumerate();
    Weighted {
        filters: filters
            .map(|(at, filter)| FilterStep { name: name("filter", at), filter: filter.clone() })
            .collect(),
        scorers: scorers
            .map(|(at, (scorer, weight))| ScorerStep {
                name: name("scorer", at),
                scorer: scorer.clone(),
                weight: *weight,
            })
            .collect(),
        picker,
        ..Weighted::default()
    }
}

fn endpoint(index: usize, pod: &Pod) -> EndpointState {
    let labels: BTreeMap<_, _> =
        pod.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let spec = EndpointSpec {
        name: format!("pod-{index}"),
        address: format!("10.0.{}.{}:8000", index / 250, index % 250 + 1).parse().unwrap(),
        metrics_url: String::new(),
        engine: Engine::Vllm,
        labels,
        is_draining: pod.is_draining,
        metrics_tls: MetricsTls::Verified,
    };
    let mut endpoint = EndpointState::new(Arc::new(spec));
    let Pod { scrape_status, circuit, waiting, running, kv_used_ppm, cold_placement_seq, is_asleep, .. } =
        *pod;
    let gauges = Gauges { waiting, running, kv_used_ppm };
    endpoint.observed = Observed { scrape_status, gauges, is_asleep, ..Observed::default() };
    endpoint.assessment.circuit = circuit;
    endpoint.cold_placement_seq = cold_placement_seq;
    let residency = |seen: &Adapters| {
        Arc::new(AdapterResidency { reported: seen.clone(), ..AdapterResidency::default() })
    };
    endpoint.adapters = pod.adapters.as_ref().map(residency);
    endpoint
}

pub(crate) fn load(requests: u32, prefill_tokens: u64) -> Load {
    Load { requests, prefills: requests / 2, prefill_tokens }
}
