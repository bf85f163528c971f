//! The Go EPP: its configurations, which are files of this repository, and the state that each replica keeps.

use rand::rngs::SmallRng;
use signalbox_modelsim::ModelConfig;
use signalbox_modelsim::profiles::Profile;
use signalbox_schedule::{Decision, DecisionInputs, Policy, decide};
use signalbox_state::PrefixMatches;

use super::chooser::{Arriving, Choice, Chooser};
use super::go_index::{self, BLOCK_TOKENS, GoIndex};

/// The configuration that applies when none is supplied.
const DEFAULT: &str = include_str!("../../policies/go-default.yaml");

/// llm-d's recommended configuration as shipped.
const AFFINITY: &str = include_str!("../../policies/go-affinity.yaml");

/// The same, calibrated: the profiles of the pods, and the file.
const CALIBRATED: [(&[&str], &str); 5] = [
    (&["h100-8b"], include_str!("../../policies/go-affinity-h100-8b.yaml")),
    (&["l40s-8b"], include_str!("../../policies/go-affinity-l40s-8b.yaml")),
    (&["h100-70b-tp4"], include_str!("../../policies/go-affinity-h100-70b-tp4.yaml")),
    (&["mi300x"], include_str!("../../policies/go-affinity-mi300x.yaml")),
    (&["h100-8b", "l40s-8b"], include_str!("../../policies/go-affinity-mixed.yaml")),
];

/// Returns the policy of the default configuration.
pub(crate) fn default() -> Policy {
    read(DEFAULT)
}

/// Returns the policy of the recommended configuration as shipped.
pub(super) fn affinity() -> Policy {
    read(AFFINITY)
}

/// Returns the policy of the recommended configuration, calibrated for these pods; `None` if there is no file
/// for them.
pub(super) fn calibrated(profiles: &[&Profile]) -> Option<Policy> {
    let mut names: Vec<_> = profiles.iter().map(|profile| profile.name).collect();
    names.dedup();
    CALIBRATED.iter().find(|(of, _)| *of == names).map(|(_, file)| read(file))
}

fn read(file: &str) -> Policy {
    let read = signalbox_config::parse(file);
    read.unwrap_or_else(|errors| panic!("a file in integration/bench/policies is not valid: {errors}"))
        .policy()
}

/// A replica of the Go EPP.
pub(super) struct Go {
    policy: Policy,
    index: GoIndex,
}

impl Go {
    pub(super) fn new(policy: Policy, pods: &[ModelConfig]) -> Self {
        Self { policy, index: GoIndex::new(pods) }
    }
}

impl Chooser for Go {
    fn choose(&mut self, arriving: &Arriving<'_>, rng: &mut SmallRng) -> Choice {
        let chain = go_index::chain(arriving.prompt);
        let matches = PrefixMatches { blocks: self.index.matches(&chain), total: chain.len() };
        let inputs = DecisionInputs { matches: &matches, ..arriving.inputs };
        let Decision::Picked { position, .. } = decide(&inputs, &self.policy, rng) else {
            panic!("the configurations refuse no request");
        };
        self.index.add(position, chain);
        let tokens = matches.blocks[position] as u64 * BLOCK_TOKENS;
        Choice { position, cached_tokens: Some(tokens.min(inputs.request.prompt_tokens)) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use signalbox_modelsim::engine::{Arrival, Effect, Engine, Input};
    use signalbox_modelsim::profiles;
    use signalbox_schedule::Filter;

    use super::*;

    /// Returns the time to the first token of a prompt of `tokens` tokens at an idle pod, in seconds.
    fn first_token_s(profile: &Profile, tokens: u32) -> f64 {
        let mut engine = Engine::new(profile.model.clone()).unwrap();
        let arrival = Arrival {
            id: 1,
            chain: Arc::default(),
            adapter: None,
            prompt_tokens: tokens,
            max_output_tokens: Some(1),
        };
        let mut effects = Vec::new();
        engine.step(0, Input::Arrive(arrival), &mut effects);
        while let Some(at_us) = engine.next_wakeup_us() {
            engine.step(at_us, Input::Tick, &mut effects);
        }
        let Some(Effect::FirstToken { at_us, .. }) = effects.first() else { panic!("{effects:?}") };
        *at_us as f64 / 1e6
    }

    fn peak(policy: &Policy) -> f64 {
        let Policy::Weighted(weighted) = policy else { panic!("{policy:?}") };
        let [step] = &weighted.filters[..] else { panic!("{policy:?}") };
        let Filter::PrefixAffinity(affinity) = &step.filter else { panic!("{policy:?}") };
        affinity.peak_tokens_per_second
    }

    #[test]
    fn calibrated_peaks_are_what_the_recipe_measures() {
        for (names, _) in CALIBRATED {
            let found: Vec<_> = names.iter().map(|name| profiles::find(name).unwrap()).collect();
            let tokens = found.iter().map(|profile| profile.model.pass_budget_tokens).max().unwrap();
            // Half of the requests meet each kind, so the median lies in the middle.
            let times = found.iter().map(|profile| first_token_s(profile, tokens));
            let measured = f64::from(tokens) / (times.sum::<f64>() / found.len() as f64);
            let configured = peak(&calibrated(&found).unwrap());
            assert!(
                (configured - measured.round()).abs() < 0.5,
                "{names:?}: {configured}, measured {measured}"
            );
        }
    }

    #[test]
    fn shipped_configurations_have_the_published_values() {
        assert_eq!(15_928.0, peak(&affinity()));
        let Policy::Weighted(weighted) = default() else { panic!("not a weighted policy") };
        let weights: Vec<_> = weighted.scorers.iter().map(|step| step.weight).collect();
        assert_eq!((0, vec![2.0, 2.0, 3.0]), (weighted.filters.len(), weights));
    }
}
