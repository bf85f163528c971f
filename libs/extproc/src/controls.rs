//! Headers by which somebody before or behind the picker is steered.
//!
//! Some say what a client or a gateway wants of the picker, each under its present name or an older one. Others are what the picker tells
//! a gateway or an endpoint. None of them may reach an endpoint unless the picker itself has set it: a client could send requests where it
//! likes.

use signalbox_protos::envoy::config::core::v3::HeaderMap;

use crate::head::text;

/// How much is kept of a name that a header gives, in characters.
const NAME_CHARS: usize = 256;
/// The longest time that counts as a goal, in milliseconds: a day.
const LONGEST_GOAL_MS: f64 = 86_400_000.0;

/// A header that the picker takes, and what it was called before.
struct Control {
    name: &'static str,
    older: &'static str,
}

const OBJECTIVE: Control =
    Control { name: "x-llm-d-inference-objective", older: "x-gateway-inference-objective" };
const REWRITE: Control =
    Control { name: "x-llm-d-model-name-rewrite", older: "x-gateway-model-name-rewrite" };
const TTFT: Control = Control { name: "x-llm-d-slo-ttft-ms", older: "x-slo-ttft-ms" };
const TPOT: Control = Control { name: "x-llm-d-slo-tpot-ms", older: "x-slo-tpot-ms" };

const TAKEN: [&Control; 4] = [&OBJECTIVE, &REWRITE, &TTFT, &TPOT];

/// Headers that end here, besides those that are taken.
const ENDING_HERE: [&str; 15] = [
    "x-llm-d-inference-fairness-id",
    "x-gateway-inference-fairness-id",
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

/// What a request's headers ask of the picker.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Controls {
    /// The name of an objective.
    pub(crate) objective: Option<String>,
    /// The model to serve the request with.
    pub(crate) rewrite: Option<String>,
    /// The time to the first token that is wanted, in milliseconds.
    pub(crate) ttft_goal_ms: Option<u32>,
    /// The time between tokens that is wanted, in milliseconds.
    pub(crate) tpot_goal_ms: Option<u32>,
    /// Headers whose values make no sense, and count for nothing.
    pub(crate) ignored: u32,
    /// Names of headers that must not reach an endpoint, as they stand in the request.
    pub(crate) ending_here: Vec<String>,
}

impl Controls {
    /// None are taken, and all that could steer ends here.
    pub(crate) fn unread() -> Self {
        let taken = TAKEN.iter().flat_map(|control| [control.name, control.older]);
        let ending_here = taken.chain(ENDING_HERE).map(str::to_owned).collect();
        Self { ending_here, ..Self::default() }
    }

    pub(crate) fn of_request(headers: Option<&HeaderMap>) -> Self {
        let mut controls = Self::default();
        let mut asked = [None; TAKEN.len()];
        for header in headers.map(|map| map.headers.as_slice()).unwrap_or_default() {
            // All of them begin so; most headers do not.
            if !header.key.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-")) {
                continue;
            }
            let is = |name: &str| header.key.eq_ignore_ascii_case(name);
            let at = TAKEN.iter().position(|control| is(control.name) || is(control.older));
            if at.is_none() && !ENDING_HERE.iter().any(|name| is(name)) {
                continue;
            }
            controls.ending_here.push(header.key.clone());
            if let Some(at) = at
                && (asked[at].is_none() || is(TAKEN[at].name))
            {
                // What is no text is as good as nothing.
                asked[at] = Some(text(header).unwrap_or_default());
            }
        }
        let [objective, rewrite, ttft, tpot] = asked;
        controls.objective = objective.map(|text| controls.name(text)).unwrap_or_default();
        controls.rewrite = rewrite.map(|text| controls.name(text)).unwrap_or_default();
        controls.ttft_goal_ms = ttft.map(|text| controls.goal_ms(text)).unwrap_or_default();
        controls.tpot_goal_ms = tpot.map(|text| controls.goal_ms(text)).unwrap_or_default();
        controls
    }

    fn name(&mut self, text: &str) -> Option<String> {
        let text = text.trim();
        let fits = !text.is_empty() && text.chars().nth(NAME_CHARS).is_none();
        self.unless_ignored(fits.then(|| text.to_owned()))
    }

    /// A number of milliseconds, rounded up to whole ones.
    fn goal_ms(&mut self, text: &str) -> Option<u32> {
        let ms = text.trim().parse::<f64>().ok();
        let ms = ms.filter(|ms| *ms > 0.0 && *ms <= LONGEST_GOAL_MS);
        self.unless_ignored(ms.map(|ms| ms.ceil() as u32))
    }

    fn unless_ignored<T>(&mut self, value: Option<T>) -> Option<T> {
        self.ignored += u32::from(value.is_none());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controls(headers: &[(&str, &str)]) -> Controls {
        Controls::of_request(Some(&headers.iter().copied().collect()))
    }

    #[test]
    fn the_present_name_wins_wherever_it_stands() {
        let (older, now) = (("x-gateway-model-name-rewrite", "older"), ("x-llm-d-model-name-rewrite", "now"));
        for headers in [[older, now], [now, older]] {
            assert_eq!(Some("now"), controls(&headers).rewrite.as_deref());
        }
        for headers in [[older, (now.0, "")], [(now.0, ""), older]] {
            let read = controls(&headers);
            assert_eq!((None, 1), (read.rewrite, read.ignored), "it is there, and says nothing");
        }
        assert_eq!(Some("older"), controls(&[older]).rewrite.as_deref());
        assert_eq!(Some("a"), controls(&[("X-Gateway-Inference-Objective", " a ")]).objective.as_deref());
    }

    #[test]
    fn times_are_numbers_within_a_day_or_ignored() {
        let read = |text| {
            let read = controls(&[("x-slo-ttft-ms", text)]);
            (read.ttft_goal_ms, read.ignored)
        };
        assert_eq!((Some(250), 0), read("250"));
        assert_eq!((Some(1), 0), read("0.25"));
        for absurd in ["", "0", "-1", "1e300", "NaN", "inf", "soon", "86400001"] {
            assert_eq!((None, 1), read(absurd), "{absurd}");
        }
        assert_eq!(Some(20), controls(&[("x-llm-d-slo-tpot-ms", "20")]).tpot_goal_ms);
    }

    #[test]
    fn names_are_bounded() {
        assert_eq!(1, controls(&[("x-llm-d-inference-objective", &"a".repeat(NAME_CHARS + 1))]).ignored);
        assert_eq!(0, controls(&[("x-llm-d-inference-objective", &"a".repeat(NAME_CHARS))]).ignored);
    }

    #[test]
    fn what_steers_ends_here_and_nothing_else() {
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
        assert_eq!(expected[..], controls(&headers).ending_here);
    }
}
