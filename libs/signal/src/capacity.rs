//! What one replica of a group can do, from its warmed pods; remembered while there are none.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::group::Group;
use crate::observation::{Pod, PodSpeed, PodState};
use crate::signal::{GroupSignal, TokenRates};

/// How long a pod must have been ready for its speed to count, in milliseconds: the first requests of an engine are slow.
const WARM_MS: u64 = 60_000;

/// How many requests of a pod run at most when it is full.
const MAX_RUNNING: f64 = 256.0;

/// The share of the KV cache that requests fill when a pod is full.
pub(crate) const FULL_KV: f64 = 0.85;

/// What one replica can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Capacity {
    /// Uncached prompt tokens per second, if it does nothing else.
    pub(crate) prefill: f64,
    /// Output tokens per second, if it does nothing else and its KV cache is full.
    pub(crate) decode: f64,
    /// Seconds that an output token adds to a pass that computes anyway; at most 1 ÷ `decode`.
    pub(crate) decode_beside_s: f64,
    /// Tokens that fit into its KV cache.
    pub(crate) kv_tokens: f64,
    /// What it costs.
    pub(crate) cost: f64,
}

impl Capacity {
    /// Returns the capacity of a pod whose requests take `kv_per_request` tokens of its KV cache.
    fn of(speed: PodSpeed, pod: &Pod, kv_per_request: f64) -> Self {
        let kv_tokens = pod.kv_tokens as f64;
        let running = (FULL_KV * kv_tokens / kv_per_request.max(1.0)).clamp(1.0, MAX_RUNNING);
        let token_s = speed.decode_token_s + speed.decode_interference_s * running;
        let decode = running / token_s.max(1e-6);
        Self {
            prefill: speed.prefill_tokens_per_second.max(1.0),
            decode,
            decode_beside_s: speed.decode_interference_s.clamp(0.0, 1.0 / decode),
            kv_tokens,
            cost: pod.cost.max(f64::MIN_POSITIVE),
        }
    }

    /// Returns how many replicas are busy all the time with so many tokens per second. A pass reads the weights once, whatever
    /// it computes: where passes prefill most of the time, output tokens only add what they take beside it.
    pub(crate) fn busy(&self, prefill: f64, output: f64) -> f64 {
        let weights_s = 1.0 / self.decode - self.decode_beside_s;
        (prefill / self.prefill).max(output * weights_s) + output * self.decode_beside_s
    }

    /// Returns the tokens per second for a signal.
    pub(crate) fn rates(&self, replicas: u32) -> TokenRates {
        let of = |rate: f64| (rate * f64::from(replicas)).round() as u64;
        TokenRates { prefill: of(self.prefill), decode: of(self.decode) }
    }
}

/// What one replica of each group can do.
#[derive(Debug, Default)]
pub(crate) struct Capacities {
    known: BTreeMap<Group, Capacity>,
    /// What pods that are not warm yet show, of the groups that are not among the known ones.
    unwarmed: BTreeMap<Group, Capacity>,
    /// Since when each pod has been ready.
    ready_since: HashMap<u64, u64>,
}

impl Capacities {
    /// Takes over what an earlier owner has published.
    pub(crate) fn inherit(&mut self, group: &GroupSignal) {
        let Some(TokenRates { prefill, decode }) = group.per_replica else { return };
        let capacity = Capacity {
            prefill: prefill.max(1) as f64,
            decode: decode.max(1) as f64,
            // It is not published: the least that it can help.
            decode_beside_s: 1.0 / decode.max(1) as f64,
            kv_tokens: group.kv_tokens_per_replica as f64,
            cost: 1.0,
        };
        self.known.insert(group.group.clone(), capacity);
    }

    /// Updates the capacities with what the pods show. `is_first` says that nothing was recorded before: then pods that are
    /// ready have been for long.
    pub(crate) fn record(&mut self, now_ms: u64, is_first: bool, pods: &[Pod], kv_per_request: f64) {
        let since = if is_first { now_ms.saturating_sub(WARM_MS) } else { now_ms };
        for pod in pods {
            if pod.state == PodState::Ready {
                self.ready_since.entry(pod.key).or_insert(since);
            } else {
                self.ready_since.remove(&pod.key);
            }
        }
        if self.ready_since.len() > pods.len() {
            let present: HashSet<u64> = pods.iter().map(|pod| pod.key).collect();
            self.ready_since.retain(|key, _| present.contains(key));
        }
        let is_warm = |pod: &Pod| {
            let since = self.ready_since.get(&pod.key);
            since.is_some_and(|since| now_ms.saturating_sub(*since) >= WARM_MS)
        };
        self.known.extend(shown(pods.iter().filter(|pod| is_warm(pod)), kv_per_request));
        let is_unknown = |pod: &&Pod| pod.state.is_current() && !self.known.contains_key(&pod.group);
        let unknown = pods.iter().filter(is_unknown);
        self.unwarmed = shown(unknown, kv_per_request);
    }

    /// Returns what one replica of `group` can do; `None` if no pod of it has ever shown it.
    pub(crate) fn of(&self, group: &Group) -> Option<Capacity> {
        self.known.get(group).copied()
    }

    /// Returns what the pods of `group` show that are not warm yet; `None` if they show nothing.
    pub(crate) fn unwarmed(&self, group: &Group) -> Option<Capacity> {
        self.unwarmed.get(group).copied()
    }

    /// Forgets what the groups can do that are not to be kept.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&Group) -> bool) {
        self.known.retain(|group, _| is_kept(group));
    }
}

/// Returns what the pods show, by group.
fn shown<'a>(pods: impl Iterator<Item = &'a Pod>, kv_per_request: f64) -> BTreeMap<Group, Capacity> {
    let mut shown: BTreeMap<&Group, Vec<Capacity>> = BTreeMap::new();
    for pod in pods {
        if let Some(speed) = pod.speed {
            shown.entry(&pod.group).or_default().push(Capacity::of(speed, pod, kv_per_request));
        }
    }
    shown.into_iter().map(|(group, of_pods)| (group.clone(), median(&of_pods))).collect()
}

/// Returns the median of each number: one slow pod changes nothing.
fn median(of_pods: &[Capacity]) -> Capacity {
    let of = |number: fn(&Capacity) -> f64| {
        let mut values: Vec<_> = of_pods.iter().map(number).collect();
        let middle = values.len() / 2;
        *values.select_nth_unstable_by(middle, f64::total_cmp).1
    };
    Capacity {
        prefill: of(|capacity| capacity.prefill),
        decode: of(|capacity| capacity.decode),
        decode_beside_s: of(|capacity| capacity.decode_beside_s),
        kv_tokens: of(|capacity| capacity.kv_tokens),
        cost: of(|capacity| capacity.cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_beside_prompts_costs_only_what_it_adds() {
        let capacity = Capacity {
            prefill: 8_000.0,
            decode: 1_000.0,
            decode_beside_s: 0.000_2,
            kv_tokens: 100_000.0,
            cost: 1.0,
        };
        let is = |expected: f64, prefill, output| {
            let busy = capacity.busy(prefill, output);
            assert!((busy - expected).abs() < 1e-9, "{prefill} {output}: {busy}");
        };
        is(0.5, 0.0, 500.0);
        is(1.0, 8_000.0, 0.0);
        is(1.1, 8_000.0, 500.0);
        is(0.5, 80.0, 500.0);
    }
}
