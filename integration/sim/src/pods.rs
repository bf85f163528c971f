//! The model servers as they truly are, and the prompts that are sent to them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use signalbox_state::ScrapeResult;
use signalbox_types::{
    BlockHash, Capacity, EndpointKey, EndpointSpec, Engine, Gauges, Incarnation, PoolId, PoolSpec, Sample,
};

/// One model server.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    spec: EndpointSpec,
    pub(crate) incarnation: Incarnation,
    is_member: bool,
    running: u32,
}

/// All model servers.
#[derive(Debug)]
pub(crate) struct Pods {
    pods: Vec<Pod>,
    at: BTreeMap<EndpointKey, usize>,
    kv_tokens: u64,
}

impl Pods {
    pub(crate) fn new(count: usize, kv_tokens: u64) -> Self {
        let pod = |at: usize| Pod {
            spec: spec(at),
            incarnation: Incarnation(1_000 + at as u64),
            is_member: true,
            running: 0,
        };
        let pods: Vec<_> = (0..count).map(pod).collect();
        let at = pods.iter().enumerate().map(|(at, pod)| (pod.spec.key(), at)).collect();
        Self { pods, at, kv_tokens }
    }

    /// As Kubernetes has them.
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

    pub(crate) fn be_reborn(&mut self, at: usize) {
        self.pods[at].incarnation.0 += 1_000;
    }

    /// A request begins or ends at a pod.
    pub(crate) fn runs(&mut self, endpoint: EndpointKey, more: i32) {
        if let Some(at) = self.at.get(&endpoint) {
            let running = &mut self.pods[*at].running;
            *running = running.saturating_add_signed(more);
        }
    }

    /// What a collector reads.
    pub(crate) fn read(&self, endpoint: EndpointKey) -> ScrapeResult {
        let Some(pod) = self.at.get(&endpoint).map(|at| &self.pods[*at]) else {
            return ScrapeResult::Refused;
        };
        if !pod.is_member {
            return ScrapeResult::Refused;
        }
        ScrapeResult::Sampled(Sample {
            gauges: Gauges { waiting: 0, running: pod.running, kv_used_ppm: None },
            capacity: Some(Capacity { kv_tokens: self.kv_tokens }),
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
    }
}

/// The blocks of a prompt: one of `family` up to `shared` blocks, its own from there on.
pub(crate) fn chain(family: u64, shared: u64, own: u64, blocks: u64) -> Arc<[BlockHash]> {
    let mut before = 0;
    let block = |at: u64| {
        let text = if at < shared { family } else { (family << 32) | (own + 1) };
        before = mixed(before ^ mixed(text)) | 1;
        BlockHash(before)
    };
    (0..blocks).map(block).collect()
}

/// SplitMix64.
fn mixed(seed: u64) -> u64 {
    let mut mixed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
