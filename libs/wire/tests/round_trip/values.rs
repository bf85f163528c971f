//! Values that are part of several kinds of messages.

use std::sync::Arc;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use signalbox_state::ScrapeStatus;
use signalbox_types::{
    Adapters, BlockHash, Capacity, CustomEngine, EndpointKey, EndpointSpec, Engine, Gauges, Load,
    LoadedAdapters, MetricSpec, MetricsTls, ModelRewrite, Models, Objective, Origin, RewriteRule,
    RewriteTarget, Version, Work,
};

pub(crate) fn key() -> impl Strategy<Value = EndpointKey> {
    any::<u64>().prop_map(EndpointKey)
}

pub(crate) fn origin() -> impl Strategy<Value = Origin> {
    any::<u64>().prop_map(Origin)
}

pub(crate) fn block() -> impl Strategy<Value = BlockHash> {
    (1..=u64::MAX).prop_map(BlockHash)
}

pub(crate) fn anchor() -> impl Strategy<Value = BlockHash> {
    any::<u64>().prop_map(BlockHash)
}

pub(crate) fn suffix() -> impl Strategy<Value = Arc<[BlockHash]>> {
    vec(block(), 0..6).prop_map(Arc::from)
}

pub(crate) fn load() -> impl Strategy<Value = Load> {
    any::<(u32, u32, u64)>().prop_map(|(requests, prefills, prefill_tokens)| Load {
        requests,
        prefills,
        prefill_tokens,
    })
}

pub(crate) fn gauges() -> impl Strategy<Value = Gauges> {
    any::<(u32, Option<u32>, Option<u32>)>().prop_map(|(waiting, running, kv_used_ppm)| Gauges {
        waiting,
        running,
        kv_used_ppm,
    })
}

pub(crate) fn work() -> impl Strategy<Value = Work> {
    any::<[u64; 3]>().prop_map(|[requests, prompt_tokens, output_tokens]| Work {
        requests,
        prompt_tokens,
        output_tokens,
    })
}

pub(crate) fn capacity() -> impl Strategy<Value = Capacity> {
    any::<u64>().prop_map(|kv_tokens| Capacity { kv_tokens })
}

pub(crate) fn scrape_status() -> impl Strategy<Value = ScrapeStatus> {
    select(vec![ScrapeStatus::Unknown, ScrapeStatus::Fresh, ScrapeStatus::Stale, ScrapeStatus::Down])
}

/// Sorted names of adapters.
pub(crate) fn names() -> impl Strategy<Value = Vec<Arc<str>>> {
    btree_set("[a-z]{0,4}".prop_map(Arc::from), 0..3).prop_map(Vec::from_iter)
}

pub(crate) fn adapters() -> impl Strategy<Value = Arc<Adapters>> {
    let loaded = (names(), names()).prop_map(|(device, host)| LoadedAdapters { device, host });
    let adapters = |(slots, running, waiting, loaded)| Arc::new(Adapters { slots, running, waiting, loaded });
    (0..=Adapters::MAX_SLOTS, names(), names(), option::of(loaded)).prop_map(adapters)
}

fn custom_engine() -> impl Strategy<Value = Engine> {
    let metric = || {
        let labels = vec(("[a-z]{1,3}", "[a-z0-9 .]{0,3}[a-z]"), 0..3);
        option::of(("[a-z:_]{1,5}", labels).prop_map(|(family, labels)| MetricSpec { family, labels }))
    };
    let metrics = (metric(), metric(), metric(), metric(), metric(), metric(), metric());
    (".{0,4}", metrics, "[a-z]{0,3}", "[a-z]{0,3}").prop_map(|(name, metrics, block_label, blocks_label)| {
        let (waiting, running, kv_use, adapters, cache_info, block_tokens, blocks) = metrics;
        Engine::Custom(Arc::new(CustomEngine {
            name,
            waiting,
            running,
            kv_use,
            adapters,
            cache_info,
            block_label,
            blocks_label,
            block_tokens,
            blocks,
        }))
    })
}

pub(crate) fn spec() -> impl Strategy<Value = Arc<EndpointSpec>> {
    let labels = btree_map("[a-z]{0,3}", ".{0,3}", 0..3);
    let engine = proptest::prop_oneof![select(Engine::ALL.to_vec()), custom_engine()];
    let address = any::<(std::net::IpAddr, u16)>().prop_map(std::net::SocketAddr::from);
    let metrics_tls = select(vec![MetricsTls::Verified, MetricsTls::Unverified]);
    (".{0,8}", address, ".{0,8}", engine, labels, any::<bool>(), metrics_tls).prop_map(
        |(name, address, metrics_url, engine, labels, is_draining, metrics_tls)| {
            Arc::new(EndpointSpec { name, address, metrics_url, engine, labels, is_draining, metrics_tls })
        },
    )
}

pub(crate) fn models() -> impl Strategy<Value = Arc<Models>> {
    let name = || ".{0,4}";
    let objective = (name(), any::<i32>()).prop_map(|(name, priority)| Objective { name, priority });
    let target = (name(), option::of(1..=RewriteTarget::WEIGHT_MAX));
    let target = target.prop_map(|(model, weight)| RewriteTarget { model, weight });
    let rule = (vec(name(), 0..3), vec(target, 1..3));
    let rule = rule.prop_map(|(models, targets)| RewriteRule { models, targets });
    let rewrite = (name(), option::of(any::<u64>()), vec(rule, 0..3))
        .prop_map(|(name, created_ms, rules)| ModelRewrite { name, created_ms, rules });
    (vec(objective, 0..3), vec(rewrite, 0..3))
        .prop_map(|(objectives, rewrites)| Arc::new(Models::new(objectives, rewrites)))
}

pub(crate) fn version() -> impl Strategy<Value = Option<Version>> {
    option::of((1..=u64::MAX, any::<u64>()).prop_map(|(epoch, seq)| Version { epoch, seq }))
}
