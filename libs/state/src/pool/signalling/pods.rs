//! The pods of a pool, as the assessment of how many are needed reads them.

use signalbox_flow::Detector;
use signalbox_signal::{Group, Pod, PodSpeed, PodState, Role, ServedCounts};
use signalbox_types::{EndpointKey, EndpointSpec, Incarnation, PPM};

use super::{Pool, Reading};
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
        self.pool_state.endpoints().any(|of| state_of(of).is_some_and(PodState::is_serving))
    }

    /// Reads the next endpoints. One that has never been there is left out, because its pod has not started yet.
    pub(super) fn read_pods(&self, now_ms: u64, reading: &mut Reading) {
        for endpoint_state in reading.take(self.pool_state.endpoint_list()) {
            if let Some(state) = state_of(endpoint_state) {
                let pod = self.pod(endpoint_state, state, now_ms);
                reading.record(endpoint_state, pod);
            }
        }
    }

    fn pod(&self, endpoint_state: &EndpointState, state: PodState, now_ms: u64) -> Pod {
        let EndpointState { key, spec, observed, assessment, .. } = endpoint_state;
        let kv_tokens =
            observed.capacity.map_or(self.config.assumed_kv_tokens, |capacity| capacity.kv_tokens);
        let used = |ppm: u32| (u128::from(kv_tokens) * u128::from(ppm) / u128::from(PPM)) as u64;
        let (load, began_ms) = self.pool_state.loads().total_with_prefill(*key);
        let prefill_rate = u64::from(assessment.rates.prefill_tokens_per_second);
        Pod {
            key: EndpointKey::of(spec.pod()).0,
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

    /// Returns the speed of an endpoint, if that was measured there: without the factor of the assumed speed, which nobody has
    /// measured. How fast it decodes may be assumed: an engine may not report it, or have nothing to decode.
    fn speed_of(&self, endpoint_state: &EndpointState) -> Option<PodSpeed> {
        let assessor = self.assessors.get(&endpoint_state.key)?;
        let rates = self.corrections.uncorrected(endpoint_state.assessment.rates);
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
