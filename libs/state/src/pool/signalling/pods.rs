//! The pods of a pool, as the assessment of how many are needed reads them.

use std::collections::BTreeMap;
use std::sync::Arc;

use signalbox_flow::Detector;
use signalbox_signal::{Group, Pod, PodSpeed, PodState, Role, ServedCounts};
use signalbox_types::{EndpointKey, EndpointSpec, Incarnation, PPM};

use super::Pool;
use crate::pool_state::{EndpointState, ScrapeStatus};

/// The label of a pod that says what it does.
const ROLE: &str = "llm-d.ai/role";

/// The label of a pod that tells the Deployments behind one pool apart.
const DEPLOYMENT: &str = "signalbox.dev/deployment";

/// What a pod costs that says nothing.
const DEFAULT_COST: f64 = 1.0;

impl Pool {
    /// Returns whether an endpoint takes requests that the state knows of, as far as is known.
    pub(super) fn has_serving_pod(&self) -> bool {
        let is_serving = |state| matches!(state, PodState::Ready | PodState::Warming | PodState::Stale);
        self.pool_state.endpoints().any(|of| state_of(of).is_some_and(is_serving))
    }

    /// Returns the pods. The endpoints of one pod are counted together; one that has never been there is left out, because
    /// its pod has not started yet.
    pub(super) fn pods(&self, now_ms: u64) -> Vec<Pod> {
        let mut ranks: BTreeMap<&str, Vec<Pod>> = BTreeMap::new();
        for endpoint_state in self.pool_state.endpoints() {
            if let Some(state) = state_of(endpoint_state) {
                let pod = self.pod(endpoint_state, state, now_ms);
                ranks.entry(endpoint_state.spec.pod()).or_default().push(pod);
            }
        }
        ranks.into_iter().map(|(name, ranks)| together(name, &ranks)).collect()
    }

    /// Returns how many pods the requests of each LoRA adapter keep busy, in thousandths: the adapters with requests at a
    /// pod share what it is used.
    pub(super) fn adapter_demand(&self, now_ms: u64) -> Vec<(Arc<str>, u64)> {
        let mut demand: BTreeMap<&Arc<str>, f64> = BTreeMap::new();
        for endpoint_state in self.pool_state.endpoints() {
            let Some(residency) = endpoint_state.adapters.as_deref() else { continue };
            let reported = &residency.reported;
            let wanted: Vec<_> = reported.running.iter().chain(&reported.waiting).collect();
            let share = self.use_of(endpoint_state, now_ms) / wanted.len() as f64;
            wanted.into_iter().for_each(|adapter| *demand.entry(adapter).or_default() += share);
        }
        let milli =
            |(adapter, replicas): (&Arc<str>, f64)| (Arc::clone(adapter), (replicas * 1e3).round() as u64);
        demand.into_iter().map(milli).collect()
    }

    fn pod(&self, endpoint_state: &EndpointState, state: PodState, now_ms: u64) -> Pod {
        let EndpointState { key, spec, observed, assessment, .. } = endpoint_state;
        let kv_tokens =
            observed.capacity.map_or(self.config.assumed_kv_tokens, |capacity| capacity.kv_tokens);
        let used = |ppm: u32| (u128::from(kv_tokens) * u128::from(ppm) / u128::from(PPM)) as u64;
        let (load, began_ms) = self.pool_state.loads().total_with_prefill(*key);
        let prefill_rate = u64::from(assessment.rates.prefill_tokens_per_second);
        Pod {
            key: key.0,
            group: group_of(spec),
            cost: spec.cost().unwrap_or(DEFAULT_COST),
            state,
            speed: self.speed_of(endpoint_state),
            kv_tokens,
            kv_used_tokens: observed.gauges.kv_used_ppm.map(used),
            saturation: self.use_of(endpoint_state, now_ms),
            requests_in_flight: u64::from(load.requests) + u64::from(observed.unbooked_requests),
            prefill_in_flight: load.unprocessed_tokens(now_ms.saturating_sub(began_ms), prefill_rate),
            served: ServedCounts {
                requests: observed.work.requests,
                output_tokens: observed.work.output_tokens,
            },
        }
    }

    /// Returns how full an endpoint is: 0 is idle, 1 is full.
    fn use_of(&self, endpoint_state: &EndpointState, now_ms: u64) -> f64 {
        let detector: Detector = self.pool_state.flows().settings().detector;
        let assessed = detector.assess(&[self.endpoint_use(endpoint_state, now_ms)]);
        assessed.map_or(0.0, |saturation| saturation.value.min(1.0))
    }

    /// Returns the speed of an endpoint, if that was measured there. How fast it decodes may be assumed: an engine may not
    /// report it, or have nothing to decode.
    fn speed_of(&self, endpoint_state: &EndpointState) -> Option<PodSpeed> {
        let assessor = self.assessors.get(&endpoint_state.key)?;
        let rates = endpoint_state.assessment.rates;
        assessor.has_measured_prefill().then(|| PodSpeed {
            prefill_tokens_per_second: f64::from(rates.prefill_tokens_per_second),
            decode_token_s: f64::from(rates.decode_token_us) / 1e6,
            decode_interference_s: f64::from(rates.decode_interference_us) / 1e6,
        })
    }
}

/// Returns whether an endpoint serves; `None` if nothing has ever listened there.
fn state_of(endpoint_state: &EndpointState) -> Option<PodState> {
    let observed = &endpoint_state.observed;
    let was_there = observed.incarnation != Incarnation::default();
    Some(match observed.scrape_status {
        _ if endpoint_state.spec.is_draining => PodState::Draining,
        ScrapeStatus::Down if !was_there => return None,
        _ if !endpoint_state.is_serving() => PodState::Failed,
        ScrapeStatus::Stale => PodState::Stale,
        ScrapeStatus::Unknown => PodState::Warming,
        _ if endpoint_state.assessment.ramp_percent > 0 => PodState::Warming,
        _ => PodState::Ready,
    })
}

fn group_of(spec: &EndpointSpec) -> Group {
    let label = |name: &str| spec.labels.get(name).map(String::as_str);
    Group { role: Role::of_pod(label(ROLE)), deployment: label(DEPLOYMENT).unwrap_or_default().into() }
}

/// Returns the pod whose endpoints are `ranks`, at least one: together they do the work of all, and it serves as well as the
/// worst of those that serve.
fn together(name: &str, ranks: &[Pod]) -> Pod {
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
        key: EndpointKey::of(name).0,
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
