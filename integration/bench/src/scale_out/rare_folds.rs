//! Measures what happens rarely and concerns all endpoints: collectors and replicas that come or go, a takeover,
//! and a late inheritance.

use std::sync::Arc;

use signalbox_state::{CollectorStream, Pool, PoolConfig, PoolEffect, PoolInput};
use signalbox_types::PoolSpec;

use super::late_inheritance::{self, LateFolds};
use super::stopwatch::Stopwatch;

/// A third collector.
const THIRD: CollectorStream = CollectorStream(3);

/// Milliseconds of CPU time of the longest fold.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct RareFolds {
    pub(super) collector_joins_ms: f64,
    pub(super) collector_leaves_ms: f64,
    /// All origins expire.
    pub(super) origins_expire_ms: f64,
    /// An owner inherits the state, and applies the specification that it has.
    pub(super) takeover_ms: f64,
    /// The ticks after the takeover.
    pub(super) ticks_after_ms: f64,
    /// An owner that started with nothing fetches the state from a follower.
    pub(super) late_fetch_ms: f64,
    /// It continues that state.
    pub(super) late_inheritance_ms: f64,
}

/// Measures `pool`, which is not needed any more, with this specification from `now_ms` on.
pub(super) fn measure(mut pool: Pool, spec: Arc<PoolSpec>, now_ms: u64) -> RareFolds {
    let joined = PoolInput::CollectorJoined(THIRD, "collector-3".to_owned());
    let collector_joins_ms = longest_fold_ms(&mut pool, now_ms, joined);
    let collector_leaves_ms = longest_fold_ms(&mut pool, now_ms, PoolInput::CollectorLeft(THIRD));
    let silent_ms = now_ms + PoolConfig::default().origin_ttl_ms;
    let origins_expire_ms = longest_fold_ms(&mut pool, silent_ms, PoolInput::Tick);
    let LateFolds { fetch_ms, inherit_ms } = late_inheritance::measure(&pool, Arc::clone(&spec), silent_ms);
    let (replica, mut taking_over) = (pool.into_replica(), Stopwatch::default());
    let mut pool = taking_over.time(|| {
        let mut pool = Pool::inherit(2, PoolConfig::default(), replica, silent_ms);
        pool.handle(silent_ms, PoolInput::Spec(spec));
        pool
    });
    let after = (1..10).map(|tick| longest_fold_ms(&mut pool, silent_ms + tick * 100, PoolInput::Tick));
    RareFolds {
        collector_joins_ms,
        collector_leaves_ms,
        origins_expire_ms,
        ticks_after_ms: after.fold(0.0, f64::max),
        takeover_ms: taking_over.longest_ms(),
        late_fetch_ms: fetch_ms,
        late_inheritance_ms: inherit_ms,
    }
}

/// Returns the longest fold of an input and what it leaves unfinished.
fn longest_fold_ms(pool: &mut Pool, now_ms: u64, input: PoolInput) -> f64 {
    let (mut spent, mut next) = (Stopwatch::default(), Some(input));
    while let Some(input) = next {
        let effects = spent.time(|| pool.handle(now_ms, input));
        next = effects.contains(&PoolEffect::Unfinished).then_some(PoolInput::Continue);
    }
    spent.longest_ms()
}
