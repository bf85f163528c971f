//! Simulates the model servers: their real state, which collectors scrape.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use signalbox_state::ScrapeResult;
use signalbox_types::{
    Capacity, EndpointKey, EndpointSpec, Engine, Gauges, Incarnation, MetricsTls, PoolId, PoolSpec, Sample,
};

/// What is left of a KV cache that shrinks, in tokens.
const SHRUNK_KV_TOKENS: u64 = 640;

/// One model server.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    spec: EndpointSpec,
    pub(crate) incarnation: Incarnation,
    is_member: bool,
    running: u32,
    /// How many faults make its requests fail at the moment.
    failing: u32,
}

/// All model servers, inside and outside of the pool.
#[derive(Debug)]
pub(crate) struct Pods {
    pods: Vec<Pod>,
    index_by_key: BTreeMap<EndpointKey, usize>,
    kv_tokens: u64,
    /// How many faults take most of the KV caches at the moment.
    shrunk: u32,
}

impl Pods {
    pub(crate) fn new(count: usize, kv_tokens: u64) -> Self {
        let pod = |at: usize| Pod {
            spec: spec(at),
            incarnation: Incarnation(1_000 + at as u64),
            is_member: true,
            running: 0,
            failing: 0,
        };
        let pods: Vec<_> = (0..count).map(pod).collect();
        let index_by_key = pods.iter().enumerate().map(|(at, pod)| (pod.spec.key(), at)).collect();
        Self { pods, index_by_key, kv_tokens, shrunk: 0 }
    }

    /// Returns the pool as Kubernetes defines it.
    pub(crate) fn spec(&self) -> PoolSpec {
        let members = self.pods.iter().filter(|pod| pod.is_member);
        let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
        PoolSpec { id, endpoints: members.map(|pod| pod.spec.clone()).collect(), models: Arc::default() }
    }

    pub(crate) fn keys(&self) -> Vec<EndpointKey> {
        self.pods.iter().filter(|pod| pod.is_member).map(|pod| pod.spec.key()).collect()
    }

    pub(crate) fn set_member(&mut self, at: usize, is_member: bool) {
        self.pods[at].is_member = is_member;
    }

    /// Lets a pod take new requests, or none.
    pub(crate) fn set_draining(&mut self, at: usize, is_draining: bool) {
        self.pods[at].spec.is_draining = is_draining;
    }

    pub(crate) fn is_draining(&self, at: usize) -> bool {
        self.pods[at].spec.is_draining
    }

    /// Returns whether a pod has no running requests.
    pub(crate) fn is_idle(&self, at: usize) -> bool {
        self.pods[at].running == 0
    }

    /// Restarts a model server: a new incarnation.
    pub(crate) fn restart(&mut self, at: usize) {
        self.pods[at].incarnation.0 += 1_000;
    }

    /// Lets the requests of a pod fail, or ends one fault that does.
    pub(crate) fn set_failing(&mut self, at: usize, is_failing: bool) {
        let failing = &mut self.pods[at].failing;
        *failing = if is_failing { *failing + 1 } else { *failing - 1 };
    }

    /// Returns whether the requests of a pod fail.
    pub(crate) fn is_failing(&self, endpoint: EndpointKey) -> bool {
        self.index_by_key.get(&endpoint).is_some_and(|at| self.pods[*at].failing > 0)
    }

    /// Takes most of the KV caches of all pods, or ends one fault that does.
    pub(crate) fn set_shrunk(&mut self, is_shrunk: bool) {
        self.shrunk = if is_shrunk { self.shrunk + 1 } else { self.shrunk - 1 };
    }

    /// Returns the key of a pod.
    pub(crate) fn key(&self, at: usize) -> EndpointKey {
        self.pods[at].spec.key()
    }

    /// Adds to the number of running requests of a pod.
    pub(crate) fn add_running(&mut self, endpoint: EndpointKey, more: i32) {
        if let Some(at) = self.index_by_key.get(&endpoint) {
            let running = &mut self.pods[*at].running;
            *running = running.saturating_add_signed(more);
        }
    }

    /// Returns what a collector scrapes; pods outside of the pool refuse connections.
    pub(crate) fn scrape(&self, endpoint: EndpointKey) -> ScrapeResult {
        let Some(pod) = self.index_by_key.get(&endpoint).map(|at| &self.pods[*at]) else {
            return ScrapeResult::Refused;
        };
        if !pod.is_member {
            return ScrapeResult::Refused;
        }
        ScrapeResult::Sampled(Sample {
            gauges: Gauges { waiting: 0, running: Some(pod.running), kv_used_ppm: None },
            capacity: Some(Capacity {
                kv_tokens: if self.shrunk > 0 { SHRUNK_KV_TOKENS } else { self.kv_tokens },
            }),
            incarnation: pod.incarnation,
            ..Sample::default()
        })
    }
}

fn spec(at: usize) -> EndpointSpec {
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 1), 8_000 + at as u16));
    EndpointSpec {
        name: format!("pod-{at}"),
        address,
        metrics_url: format!("http://{address}/metrics"),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
        is_draining: false,
        metrics_tls: MetricsTls::Verified,
    }
}
