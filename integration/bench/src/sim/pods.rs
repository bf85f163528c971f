//! The simulated model servers.

use std::net::{Ipv4Addr, SocketAddr};

use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::engine::{Effect, Engine, Input};
use signalbox_types::{
    Capacity, Counters, EndpointKey, EndpointSpec, Gauges, Incarnation, PPM, PoolId, PoolSpec, Sample,
};

/// A model server.
pub(super) struct Pod {
    pub(super) key: EndpointKey,
    engine: Engine,
    config: ModelConfig,
    /// Time of the wakeup that is in the event queue.
    wakeup_us: Option<u64>,
    /// Tokens computed for finished requests.
    pub(super) work_tokens: u64,
}

/// Creates the model servers, sorted by key like the endpoints of a view.
pub(super) fn create_pods(configs: &[ModelConfig]) -> (Vec<Pod>, PoolSpec) {
    let mut spec = pool_spec(configs.len());
    spec.endpoints.sort_by_key(EndpointSpec::key);
    let pods = spec.endpoints.iter().zip(configs).map(|(spec, config)| Pod {
        key: spec.key(),
        engine: Engine::new(config.clone()).expect("the profiles have valid model servers"),
        config: config.clone(),
        wakeup_us: None,
        work_tokens: 0,
    });
    (pods.collect(), spec)
}

/// Returns a pool with `endpoints` endpoints.
pub(crate) fn pool_spec(endpoints: usize) -> PoolSpec {
    let id = PoolId { namespace: "bench".into(), name: "pool".into() };
    PoolSpec { id, endpoints: (0..endpoints).map(spec).collect(), models: std::sync::Arc::default() }
}

fn spec(number: usize) -> EndpointSpec {
    EndpointSpec {
        name: format!("pod-{number}"),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8_000 + number as u16)),
        metrics_url: String::new(),
        engine: signalbox_types::Engine::default(),
        labels: std::collections::BTreeMap::new(),
        is_draining: false,
        metrics_tls: signalbox_types::MetricsTls::Verified,
    }
}

impl Pod {
    /// Steps the engine; returns the time of its next wakeup if that has changed.
    pub(super) fn step(&mut self, now_us: u64, input: Input, effects: &mut Vec<Effect>) -> Option<u64> {
        self.engine.step(now_us, input, effects);
        let wakeup_us = self.engine.next_wakeup_us();
        let is_changed = wakeup_us != self.wakeup_us;
        self.wakeup_us = wakeup_us;
        wakeup_us.filter(|_| is_changed)
    }

    /// Returns the number of leading blocks of `chain` that the engine caches.
    pub(super) fn cached_blocks(&self, chain: &[u64]) -> u32 {
        self.engine.cached_blocks(chain)
    }

    /// Returns what the metrics page shows.
    pub(super) fn sample(&self) -> Sample {
        let stats = self.engine.stats();
        let kv_used_ppm = Some((stats.kv_usage() * f64::from(PPM)).round() as u32);
        let kv_tokens = u64::from(stats.total_blocks) * u64::from(self.config.block_size_tokens);
        Sample {
            gauges: Gauges { waiting: stats.waiting, running: Some(stats.running), kv_used_ppm },
            capacity: Some(Capacity { kv_tokens }),
            incarnation: Incarnation(1),
            counters: Some(Counters {
                inter_token_us_sum: stats.inter_token_us_sum,
                inter_token_count: stats.inter_token_count,
                generation_tokens: stats.generation_tokens,
                prompt_tokens: stats.prompt_tokens,
            }),
            ..Sample::default()
        }
    }
}
