//! Reads control headers, and lists the headers that must not reach an endpoint.
//!
//! With some headers a client or a gateway controls the picker; each has a current and a legacy name. With
//! others the picker controls a gateway or an endpoint. None of them may reach an endpoint unless the picker
//! itself sets it: otherwise clients could route requests themselves.

use signalbox_protos::envoy::config::core::v3::HeaderMap;

use crate::headers::value::header_text;

/// Maximum length of a name in a header, in characters.
const MAX_NAME_CHARS: usize = 256;
/// Maximum latency goal in milliseconds: one day.
const MAX_GOAL_MS: f64 = 86_400_000.0;

/// A header that the picker reads, with its current and its legacy name.
struct ControlHeader {
    name: &'static str,
    legacy_name: &'static str,
}

const OBJECTIVE: ControlHeader =
    ControlHeader { name: "x-llm-d-inference-objective", legacy_name: "x-gateway-inference-objective" };
const REWRITE: ControlHeader =
    ControlHeader { name: "x-llm-d-model-name-rewrite", legacy_name: "x-gateway-model-name-rewrite" };
const FAIRNESS: ControlHeader =
    ControlHeader { name: "x-llm-d-inference-fairness-id", legacy_name: "x-gateway-inference-fairness-id" };
const TTFT: ControlHeader = ControlHeader { name: "x-llm-d-slo-ttft-ms", legacy_name: "x-slo-ttft-ms" };
const TPOT: ControlHeader = ControlHeader { name: "x-llm-d-slo-tpot-ms", legacy_name: "x-slo-tpot-ms" };

const CONSUMED: [&ControlHeader; 5] = [&OBJECTIVE, &REWRITE, &FAIRNESS, &TTFT, &TPOT];

/// Headers to remove from requests, in addition to those that the picker reads.
const STRIPPED: [&str; 13] = [
    "x-llm-d-video-fps",
    "x-llm-d-video-duration-seconds",
    "x-llm-d-video-resolution",
    "x-gateway-destination-endpoint",
    "x-gateway-destination-endpoint-subset",
    "x-gateway-destination-endpoint-served",
    "x-llm-d-request-dropped-reason",
    "x-prefiller-host-port",
    "x-encoder-hosts-ports",
    "x-data-parallel-host-port",
    "x-kv-cache-source-host-port",
    "x-data-parallel-rank",
    "x-signalbox-booking",
];

/// The settings in a request's control headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ControlHeaders {
    /// Name of an objective.
    pub(crate) objective: Option<String>,
    /// Model to serve the request with.
    pub(crate) rewrite: Option<String>,
    /// Fairness id: whose request it is.
    pub(crate) fairness_id: Option<String>,
    /// Goal for the time to first token, in milliseconds.
    pub(crate) ttft_goal_ms: Option<u32>,
    /// Goal for the time per output token, in milliseconds.
    pub(crate) tpot_goal_ms: Option<u32>,
    /// Number of headers that are ignored because their value is invalid.
    pub(crate) invalid: u32,
    /// Names of headers that must not reach an endpoint, spelled as in the request.
    pub(crate) headers_to_remove: Vec<String>,
}

impl ControlHeaders {
    /// Returns the defaults for a request whose headers cannot be read; removes every header that could
    /// control an endpoint.
    pub(crate) fn unreadable() -> Self {
        let consumed = CONSUMED.iter().flat_map(|control| [control.name, control.legacy_name]);
        let headers_to_remove = consumed.chain(STRIPPED).map(str::to_owned).collect();
        Self { headers_to_remove, ..Self::default() }
    }

    pub(crate) fn parse(headers: Option<&HeaderMap>) -> Self {
        let mut controls = Self::default();
        let mut values = [None; CONSUMED.len()];
        for header in headers.map(|map| map.headers.as_slice()).unwrap_or_default() {
            // All control headers start with this prefix; most other headers do not.
            if !header.key.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-")) {
                continue;
            }
            let is = |name: &str| header.key.eq_ignore_ascii_case(name);
            let at = CONSUMED.iter().position(|control| is(control.name) || is(control.legacy_name));
            if at.is_none() && !STRIPPED.iter().any(|name| is(name)) {
                continue;
            }
            controls.headers_to_remove.push(header.key.clone());
            if let Some(at) = at
                && (values[at].is_none() || is(CONSUMED[at].name))
            {
                // A value that is not text counts as empty.
                values[at] = Some(header_text(header).unwrap_or_default());
            }
        }
        let [objective, rewrite, fairness, ttft, tpot] = values;
        controls.objective = objective.map(|text| controls.parse_name(text)).unwrap_or_default();
        controls.rewrite = rewrite.map(|text| controls.parse_name(text)).unwrap_or_default();
        controls.fairness_id = fairness.map(|text| controls.parse_name(text)).unwrap_or_default();
        controls.ttft_goal_ms = ttft.map(|text| controls.parse_goal_ms(text)).unwrap_or_default();
        controls.tpot_goal_ms = tpot.map(|text| controls.parse_goal_ms(text)).unwrap_or_default();
        controls
    }

    fn parse_name(&mut self, text: &str) -> Option<String> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().nth(MAX_NAME_CHARS).is_none();
        self.count_if_invalid(fits.then(|| text.to_owned()))
    }

    /// Parses a number of milliseconds, rounded up.
    fn parse_goal_ms(&mut self, text: &str) -> Option<u32> {
        let ms = text.trim().parse::<f64>().ok();
        let ms = ms.filter(|ms| *ms > 0.0 && *ms <= MAX_GOAL_MS);
        self.count_if_invalid(ms.map(|ms| ms.ceil() as u32))
    }

    fn count_if_invalid<T>(&mut self, value: Option<T>) -> Option<T> {
        self.invalid += u32::from(value.is_none());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(headers: &[(&str, &str)]) -> ControlHeaders {
        ControlHeaders::parse(Some(&headers.iter().copied().collect()))
    }

    #[test]
    fn current_name_takes_precedence_over_legacy_name() {
        let (legacy, current) =
            (("x-gateway-model-name-rewrite", "legacy"), ("x-llm-d-model-name-rewrite", "current"));
        for headers in [[legacy, current], [current, legacy]] {
            assert_eq!(Some("current"), controls(&headers).rewrite.as_deref());
        }
        for headers in [[legacy, (current.0, "")], [(current.0, ""), legacy]] {
            let read = controls(&headers);
            assert_eq!((None, 1), (read.rewrite, read.invalid), "it is there, and says nothing");
        }
        assert_eq!(Some("legacy"), controls(&[legacy]).rewrite.as_deref());
        assert_eq!(Some("a"), controls(&[("X-Gateway-Inference-Objective", " a ")]).objective.as_deref());
    }

    #[test]
    fn fairness_id_is_read_and_removed() {
        let read = controls(&[
            ("x-gateway-inference-fairness-id", "old"),
            ("x-llm-d-inference-fairness-id", " team "),
        ]);
        assert_eq!((Some("team"), 2), (read.fairness_id.as_deref(), read.headers_to_remove.len()));
    }

    #[test]
    fn latency_goals_are_at_most_a_day_or_ignored() {
        let read = |text| {
            let read = controls(&[("x-slo-ttft-ms", text)]);
            (read.ttft_goal_ms, read.invalid)
        };
        assert_eq!((Some(250), 0), read("250"));
        assert_eq!((Some(1), 0), read("0.25"));
        for absurd in ["", "0", "-1", "1e300", "NaN", "inf", "soon", "86400001"] {
            assert_eq!((None, 1), read(absurd), "{absurd}");
        }
        assert_eq!(Some(20), controls(&[("x-llm-d-slo-tpot-ms", "20")]).tpot_goal_ms);
    }

    #[test]
    fn too_long_names_are_ignored() {
        assert_eq!(1, controls(&[("x-llm-d-inference-objective", &"a".repeat(MAX_NAME_CHARS + 1))]).invalid);
        assert_eq!(0, controls(&[("x-llm-d-inference-objective", &"a".repeat(MAX_NAME_CHARS))]).invalid);
    }

    #[test]
    fn only_control_headers_are_removed() {
        let headers = [
            ("x-prefiller-host-port", "1.2.3.4:1"),
            ("X-Gateway-Destination-Endpoint", "1.2.3.4:1"),
            ("x-request-id", "7"),
            ("x-slo-tpot-ms", "1"),
            ("authorization", "x"),
            ("x", "y"),
            ("é", "y"),
        ];
        let expected = ["x-prefiller-host-port", "X-Gateway-Destination-Endpoint", "x-slo-tpot-ms"];
        assert_eq!(expected[..], controls(&headers).headers_to_remove);
    }
}
