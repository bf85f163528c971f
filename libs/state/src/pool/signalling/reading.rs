//! What one assessment reads of the endpoints, a bounded number with each input.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_signal::{Pod, PodSpeed, PodState, ServedCounts};
use signalbox_types::EndpointKey;

use crate::pool_state::{EndpointList, EndpointState};

/// The maximum number of endpoints that are read with one input.
const MAX_ENDPOINTS_PER_INPUT: usize = 512;

/// The endpoints that were read so far. One that is added meanwhile may be missed, and one that is removed still counted, until
/// the next assessment.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The last key that was read.
    last: Option<EndpointKey>,
    is_complete: bool,
    /// What each endpoint shows. Those of one pod have the same key.
    endpoints: Vec<Pod>,
    /// How many pods the requests of each LoRA adapter keep busy.
    adapters: BTreeMap<Arc<str>, f64>,
}

impl Reading {
    /// Begins with an empty buffer, which an earlier reading has left: a new one would be new memory each time.
    pub(super) fn with_buffer(endpoints: Vec<Pod>) -> Self {
        Self { endpoints, ..Self::default() }
    }

    /// Takes the next endpoints.
    pub(super) fn take<'a>(&mut self, endpoints: &'a EndpointList) -> Vec<&'a Arc<EndpointState>> {
        let taken: Vec<_> = endpoints.after(self.last).take(MAX_ENDPOINTS_PER_INPUT).collect();
        // What many endpoints show is as much work to assess as to read: that is left to one more input.
        self.is_complete = taken.is_empty() || (self.last.is_none() && taken.len() < MAX_ENDPOINTS_PER_INPUT);
        self.last = taken.last().map(|endpoint_state| endpoint_state.key).or(self.last);
        taken
    }

    /// Returns whether everything was read, and it is time to assess it.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Records what an endpoint shows: as the pod that it would be if the pod had no other endpoint. The adapters with requests
    /// there share what it is used.
    pub(super) fn record(&mut self, endpoint_state: &EndpointState, pod: Pod) {
        if let Some(residency) = endpoint_state.adapters.as_deref() {
            let reported = &residency.reported;
            let share = pod.saturation / (reported.running.len() + reported.waiting.len()) as f64;
            for adapter in reported.running.iter().chain(&reported.waiting) {
                match self.adapters.get_mut(adapter) {
                    Some(demand) => *demand += share,
                    None => drop(self.adapters.insert(Arc::clone(adapter), share)),
                }
            }
        }
        self.endpoints.push(pod);
    }

    /// Returns the pods, each with the work of all its endpoints, and how many pods the requests of each adapter keep busy,
    /// in thousandths.
    pub(super) fn finish(mut self) -> (Vec<Pod>, Vec<(Arc<str>, u64)>) {
        self.endpoints.sort_unstable_by_key(|rank| rank.key);
        let are_same = |a: &Pod, b: &Pod| a.key == b.key;
        if self.endpoints.windows(2).any(|pair| are_same(&pair[0], &pair[1])) {
            self.endpoints = self.endpoints.chunk_by(are_same).map(together).collect();
        }
        let milli = |(adapter, pods): (Arc<str>, f64)| (adapter, (pods * 1e3).round() as u64);
        (self.endpoints, self.adapters.into_iter().map(milli).collect())
    }
}

/// Returns the pod whose endpoints are `ranks`, at least one: together they do the work of all, and it serves as well as the
/// worst of those that serve.
fn together(ranks: &[Pod]) -> Pod {
    if let [only] = ranks {
        return only.clone();
    }
    let count = ranks.len() as f64;
    let sum = |of: fn(&Pod) -> u64| ranks.iter().map(of).fold(0, u64::saturating_add);
    let speeds: Vec<_> = ranks.iter().filter_map(|rank| rank.speed).collect();
    let mean = |of: fn(&PodSpeed) -> f64| speeds.iter().map(of).sum::<f64>() / speeds.len() as f64;
    let speed = (!speeds.is_empty()).then(|| PodSpeed {
        prefill_tokens_per_second: mean(|of| of.prefill_tokens_per_second) * count,
        decode_token_s: mean(|of| of.decode_token_s),
        // Each request slows down those at its own endpoint only.
        decode_interference_s: mean(|of| of.decode_interference_s) / count,
    });
    let used = ranks.iter().filter_map(|rank| rank.kv_used_tokens).reduce(u64::saturating_add);
    Pod {
        key: ranks[0].key,
        state: state_together(ranks),
        speed,
        kv_tokens: sum(|rank| rank.kv_tokens),
        kv_used_tokens: used,
        saturation: ranks.iter().map(|rank| rank.saturation).sum::<f64>() / count,
        requests_in_flight: sum(|rank| rank.requests_in_flight),
        prefill_in_flight: sum(|rank| rank.prefill_in_flight),
        served: ServedCounts {
            requests: sum(|rank| rank.served.requests),
            output_tokens: sum(|rank| rank.served.output_tokens),
        },
        group: ranks[0].group.clone(),
        cost: ranks[0].cost,
    }
}

fn state_together(ranks: &[Pod]) -> PodState {
    let has = |state: PodState| ranks.iter().any(|rank| rank.state == state);
    let by_serving = [PodState::Stale, PodState::Warming, PodState::Ready, PodState::Failed];
    by_serving.into_iter().find(|state| has(*state)).unwrap_or(PodState::Draining)
}
