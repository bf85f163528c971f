//! Small pools and random lives of them.

pub(crate) mod contents;
pub(crate) mod steps;
pub(crate) mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use signalbox_state::{
    ApplyOutcome, CatchUp, Frame, FrameSource, Placement, Pool, PoolConfig, PoolEffect, PoolInput,
    StateReplica,
};
use signalbox_types::{
    BlockHash, EndpointKey, EndpointSpec, Engine, Format, Incarnation, ModelRewrite, Models, Objective,
    Origin, PoolId, PoolSpec, RewriteRule, RewriteTarget,
};

/// The stream on which the owner is heard.
pub(crate) const OWNER: FrameSource = FrameSource::Aggregator(1);

/// With blocks of one token, so that a token's worth of cache is a block; and with patience for silent collectors.
pub(crate) fn config() -> PoolConfig {
    PoolConfig {
        format: Format::with_block_bytes(4),
        assumed_kv_tokens: 12,
        collector_ttl_ms: 3_600_000,
        ..PoolConfig::default()
    }
}

/// The endpoint number `index`, at the `site`th of its addresses.
pub(crate) fn endpoint_spec(index: usize, site: u8) -> EndpointSpec {
    let address = SocketAddr::from(([10, 0, site, index as u8], 8_000));
    EndpointSpec {
        name: format!("pod-{index}"),
        address,
        metrics_url: format!("http://{address}/metrics"),
        engine: Engine::Vllm,
        labels: BTreeMap::new(),
    }
}

pub(crate) fn endpoint(index: usize) -> EndpointKey {
    endpoint_spec(index, 0).key()
}

pub(crate) fn pool_spec(endpoints: impl IntoIterator<Item = EndpointSpec>) -> PoolSpec {
    let id = PoolId { namespace: "default".to_owned(), name: "pool".to_owned() };
    PoolSpec { id, endpoints: endpoints.into_iter().collect(), models: Arc::default() }
}

/// What a pool says of models: number 0 says nothing, and each says something else.
pub(crate) fn models(number: u8) -> Arc<Models> {
    if number == 0 {
        return Arc::default();
    }
    let objective = Objective { name: format!("objective-{number}"), priority: i32::from(number) - 2 };
    let target = RewriteTarget { model: "served".to_owned(), weight: Some(u32::from(number)) };
    let rule = RewriteRule { models: vec!["asked".to_owned()], targets: vec![target] };
    let rewrite = ModelRewrite { name: "rewrite".to_owned(), created_ms: None, rules: vec![rule] };
    Arc::new(Models::new(vec![objective], vec![rewrite]))
}

/// A pool under epoch 1 with the endpoints 0 to `endpoints` - 1.
pub(crate) fn pool_of(endpoints: usize, config: PoolConfig) -> Pool {
    let mut pool = Pool::new(1, config);
    let specs = (0..endpoints).map(|index| endpoint_spec(index, 0));
    pool.fold(0, PoolInput::Spec(pool_spec(specs)));
    pool
}

/// One block for each byte (0 to 2); a block's hash is the prefix it stands for, read as a number.
pub(crate) fn chain(prompt: &[u8]) -> Arc<[BlockHash]> {
    let fold = |hash: &mut u64, byte: &u8| {
        *hash = *hash * 4 + u64::from(*byte) + 1;
        Some(BlockHash(*hash))
    };
    prompt.iter().scan(0, fold).collect()
}

/// A placement of `prompt` by a replica that believes that the pool knows `known` of its blocks.
pub(crate) fn placement(
    number: u64,
    at: EndpointKey,
    life: Incarnation,
    prompt: &[u8],
    known: usize,
) -> Placement {
    let chain = chain(prompt);
    let (anchor, start) = signalbox_prefix::anchor(&chain, known);
    Placement { number, endpoint: at, incarnation: life, anchor, suffix: chain[start..].into() }
}

/// Which chains `effects` ask of `origin`.
pub(crate) fn asked_for(effects: &[PoolEffect], of: Origin) -> Vec<u64> {
    let asked = effects.iter().filter_map(|effect| match effect {
        PoolEffect::NeedChain(origin, number) if *origin == of => Some(*number),
        _ => None,
    });
    asked.collect()
}

/// Brings `replica` to where `pool` is, as the owner's stream would, and says whether that took a snapshot.
pub(crate) fn catch_up(replica: &mut StateReplica, pool: &Pool) -> bool {
    let mut took_snapshot = false;
    loop {
        match pool.journal().since(replica.cursor().unwrap_or_default()) {
            CatchUp::Current => return took_snapshot,
            CatchUp::Frame(frame) => assert_eq!(ApplyOutcome::Applied, replica.apply(OWNER, frame)),
            CatchUp::Snapshot => {
                took_snapshot = true;
                let outcome =
                    Arc::new(pool.snapshot()).frames().map(|frame| replica.apply(OWNER, frame)).last();
                assert_eq!(Some(ApplyOutcome::Reset), outcome);
            }
            CatchUp::Deposed(epoch) => panic!("the pool's owner is outranked by {epoch}"),
        }
    }
}

/// What the owner beats at its present version.
pub(crate) fn beat(pool: &Pool) -> Frame {
    let head = pool.journal().head();
    Frame::Heartbeat { epoch: head.epoch, seq: head.seq, now_ms: 0, digest: pool.pool_state().digest() }
}
