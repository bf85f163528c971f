use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::rewrite::RewriteTarget;

fn target(model: &str, weight: Option<u32>) -> RewriteTarget {
    RewriteTarget { model: model.to_owned(), weight }
}

fn rule(models: &[&str], targets: &[(&str, Option<u32>)]) -> RewriteRule {
    RewriteRule {
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        targets: targets.iter().map(|(model, weight)| target(model, *weight)).collect(),
    }
}

fn rewrite(name: &str, created_ms: Option<u64>, rules: Vec<RewriteRule>) -> ModelRewrite {
    ModelRewrite { name: name.to_owned(), created_ms, rules }
}

/// Counts how often each target is chosen for evenly spread random numbers.
fn shares(models: &Models, incoming: &str, of: u64) -> BTreeMap<String, u64> {
    let mut shares = BTreeMap::new();
    for draw in 0..of {
        let random = (u128::from(draw) * (1 << 64) / u128::from(of)) as u64;
        let target = models.target(incoming, None, random).expect("a rule applies");
        *shares.entry(target.to_owned()).or_default() += 1;
    }
    shares
}

#[test]
fn unknown_and_missing_objectives_have_priority_zero() {
    let objective = |name: &str, priority| Objective { name: name.to_owned(), priority };
    let models = Models::new(vec![objective("urgent", 10), objective("batch", -10)], Vec::new());
    let priorities = [None, Some("urgent"), Some("batch"), Some("other")].map(|name| models.priority(name));
    assert_eq!([0, 10, -10, 0], priorities);
}

#[test]
fn exact_rules_precede_generic_ones_then_the_oldest_then_the_first() {
    let to = |model| [(model, None)];
    let models = Models::new(
        Vec::new(),
        vec![
            rewrite("unknown", None, vec![rule(&["a", "d"], &to("unknown"))]),
            rewrite("young", Some(9), vec![rule(&["a", "b"], &to("young"))]),
            rewrite("old", Some(1), vec![rule(&[], &to("generic")), rule(&["b"], &to("old"))]),
            rewrite("as old", Some(1), vec![rule(&["b", "c"], &to("as old")), rule(&["c"], &to("second"))]),
        ],
    );
    let targets = ["a", "b", "c", "d", "e"].map(|incoming| models.target(incoming, None, 0).unwrap());
    assert_eq!(["young", "old", "as old", "unknown", "generic"], targets);
    assert_eq!(None, Models::default().target("a", Some("session"), 7));
}

#[test]
fn source_that_is_a_target_too_has_no_rule_of_its_own() {
    let to = |model| [(model, None)];
    let split = rule(&["stable"], &[("stable", Some(9)), ("canary", Some(1))]);
    let rules = vec![rule(&["alias"], &to("m")), split, rule(&[], &to("m"))];
    let models = Models::new(Vec::new(), vec![rewrite("r", None, rules.clone())]);
    assert_eq!(Some(&rules[0]), models.rule_of_source("alias"));
    for served in ["stable", "m", "canary", "any other"] {
        assert_eq!(None, models.rule_of_source(served), "{served}");
    }
    assert!(models.has_named_sources());
    let generic = Models::new(Vec::new(), vec![rewrite("r", None, vec![rule(&[], &to("m"))])]);
    assert!(!generic.has_named_sources());
}

#[test]
fn targets_share_by_weight_and_unweighted_ones_are_skipped() {
    let split = rule(&["split"], &[("a", Some(7)), ("never", None), ("b", Some(1))]);
    let even = rule(&["even"], &[("a", None), ("b", None), ("c", None), ("d", None)]);
    let models = Models::new(Vec::new(), vec![rewrite("r", None, vec![split, even])]);
    let expected: BTreeMap<_, _> = [("a".to_owned(), 896), ("b".to_owned(), 128)].into();
    assert_eq!(expected, shares(&models, "split", 1_024));
    assert!(shares(&models, "even", 1_024).values().all(|share| *share == 256));
}

#[test]
fn sessions_are_spread_by_weight() {
    let rule = rule(&["m"], &[("a", Some(3)), ("b", Some(1))]);
    let models = Models::new(Vec::new(), vec![rewrite("r", None, vec![rule])]);
    let to_b = |session: &u32| models.target("m", Some(&session.to_string()), 0) == Some("b");
    let share = (0..10_000).filter(to_b).count();
    assert!((2_300..2_700).contains(&share), "{share}");
}

fn any_rule() -> impl Strategy<Value = RewriteRule> {
    let targets = vec(("[t-z]", option::of(0_u32..5)), 0..4);
    (vec("[a-d]", 0..3), targets).prop_map(|(models, targets)| RewriteRule {
        models,
        targets: targets.into_iter().map(|(model, weight)| RewriteTarget { model, weight }).collect(),
    })
}

fn any_rewrites() -> impl Strategy<Value = Vec<ModelRewrite>> {
    let rewrite = (option::of(0_u64..3), vec(any_rule(), 0..4));
    vec(rewrite, 0..5).prop_map(|rewrites| {
        let rewrites = rewrites.into_iter().enumerate();
        rewrites.map(|(at, (created_ms, rules))| rewrite_at(at, created_ms, rules)).collect()
    })
}

fn rewrite_at(at: usize, created_ms: Option<u64>, rules: Vec<RewriteRule>) -> ModelRewrite {
    rewrite(&format!("rewrite-{at}"), created_ms, rules)
}

/// Returns the rule that applies, found by examining every rule as the contract states it.
fn rule_of<'a>(rewrites: &'a [ModelRewrite], incoming: &str) -> Option<&'a RewriteRule> {
    let all = rewrites.iter().enumerate().flat_map(|(place, rewrite)| {
        let rules = rewrite.rules.iter().enumerate();
        rules.map(move |(at, rule)| ((rewrite.created_ms.is_none(), rewrite.created_ms, place, at), rule))
    });
    let all: Vec<_> = all.collect();
    let first = |is_for: &dyn Fn(&RewriteRule) -> bool| {
        all.iter().filter(|(_, rule)| is_for(rule)).min_by_key(|(order, _)| *order).map(|(_, rule)| *rule)
    };
    let exact = first(&|rule| rule.models.iter().any(|model| model == incoming));
    exact.or_else(|| first(&|rule| rule.models.is_empty()))
}

proptest! {
    #[test]
    fn target_belongs_to_the_rule_that_applies(
        rewrites in any_rewrites(),
        incoming in "[a-e]",
        session in option::of("[a-z]{0,3}"),
        random in any::<u64>(),
    ) {
        let models = Models::new(Vec::new(), rewrites.clone());
        let target = models.target(&incoming, session.as_deref(), random);
        let rule = rule_of(&rewrites, &incoming);
        let targets = rule.map(|rule| rule.targets.as_slice()).unwrap_or_default();
        let is_weighted = targets.iter().any(|target| target.weight.is_some());
        let can_be_chosen = |target: &&RewriteTarget| if is_weighted { target.weight > Some(0) } else { true };
        let possible: Vec<_> = targets.iter().filter(can_be_chosen).map(|target| target.model.as_str()).collect();
        match target {
            Some(target) => prop_assert!(possible.contains(&target), "{} of {:?}", target, possible),
            None => prop_assert!(possible.is_empty(), "none of {:?}", possible),
        }
    }

    #[test]
    fn session_keeps_its_target_for_all_random_numbers(
        rewrites in any_rewrites(),
        incoming in "[a-e]",
        session in "[a-z]{1,3}",
        random in any::<[u64; 2]>(),
    ) {
        let [one, other] = [(); 2].map(|()| Models::new(Vec::new(), rewrites.clone()));
        let target = |models: &Models, random| models.target(&incoming, Some(&session), random).map(str::to_owned);
        prop_assert_eq!(target(&one, random[0]), target(&other, random[1]));
    }

    #[test]
    fn rebuilding_from_own_parts_gives_an_equal_value(rewrites in any_rewrites(), names in vec("[a-d]{1,2}", 0..5)) {
        let objectives = names.into_iter().zip(1..).map(|(name, priority)| Objective { name, priority }).collect();
        let models = Models::new(objectives, rewrites);
        let again = Models::new(models.objectives().to_vec(), models.rewrites().to_vec());
        prop_assert_eq!(models, again);
    }

    /// A growing weight moves sessions to its target and none away from it.
    #[test]
    fn growing_canary_keeps_its_sessions(weights in [1_u32..100, 1_u32..100], session in "[a-z]{1,8}") {
        let [small, more] = weights;
        let at = |canary: u32| {
            let rule = rule(&["m"], &[("stable", Some(200 - canary)), ("canary", Some(canary))]);
            let models = Models::new(Vec::new(), vec![rewrite("r", None, vec![rule])]);
            models.target("m", Some(&session), 0) == Some("canary")
        };
        prop_assert!(!at(small) || at(small + more));
    }
}
