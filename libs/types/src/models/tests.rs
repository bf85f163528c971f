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

/// How often each target is chosen over evenly spread dice.
fn shares(models: &Models, incoming: &str, of: u64) -> BTreeMap<String, u64> {
    let mut shares = BTreeMap::new();
    for throw in 0..of {
        let dice = (u128::from(throw) * (1 << 64) / u128::from(of)) as u64;
        let target = models.target(incoming, None, dice).expect("there is a rule");
        *shares.entry(target.to_owned()).or_default() += 1;
    }
    shares
}

#[test]
fn an_unknown_objective_and_none_have_no_priority() {
    let objective = |name: &str, priority| Objective { name: name.to_owned(), priority };
    let models = Models::new(vec![objective("urgent", 10), objective("batch", -10)], Vec::new());
    let priorities = [None, Some("urgent"), Some("batch"), Some("other")].map(|name| models.priority(name));
    assert_eq!([0, 10, -10, 0], priorities);
}

#[test]
fn the_exact_holds_before_the_generic_then_the_oldest_then_the_first() {
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
fn weights_share_and_what_has_none_beside_them_is_never_chosen() {
    let split = rule(&["split"], &[("a", Some(7)), ("never", None), ("b", Some(1))]);
    let even = rule(&["even"], &[("a", None), ("b", None), ("c", None), ("d", None)]);
    let models = Models::new(Vec::new(), vec![rewrite("r", None, vec![split, even])]);
    let expected: BTreeMap<_, _> = [("a".to_owned(), 896), ("b".to_owned(), 128)].into();
    assert_eq!(expected, shares(&models, "split", 1_024));
    assert!(shares(&models, "even", 1_024).values().all(|share| *share == 256));
}

#[test]
fn sessions_share_by_weight_too() {
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

/// The rule that holds, by the words of the contract: each rule is looked at.
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
    fn the_target_is_one_of_the_rule_that_holds(
        rewrites in any_rewrites(),
        incoming in "[a-e]",
        session in option::of("[a-z]{0,3}"),
        dice in any::<u64>(),
    ) {
        let models = Models::new(Vec::new(), rewrites.clone());
        let target = models.target(&incoming, session.as_deref(), dice);
        let rule = rule_of(&rewrites, &incoming);
        let targets = rule.map(|rule| rule.targets.as_slice()).unwrap_or_default();
        let is_weighted = targets.iter().any(|target| target.weight.is_some());
        let may_be = |target: &&RewriteTarget| if is_weighted { target.weight > Some(0) } else { true };
        let possible: Vec<_> = targets.iter().filter(may_be).map(|target| target.model.as_str()).collect();
        match target {
            Some(target) => prop_assert!(possible.contains(&target), "{} of {:?}", target, possible),
            None => prop_assert!(possible.is_empty(), "none of {:?}", possible),
        }
    }

    #[test]
    fn a_session_goes_to_one_target_whatever_the_dice(
        rewrites in any_rewrites(),
        incoming in "[a-e]",
        session in "[a-z]{1,3}",
        dice in any::<[u64; 2]>(),
    ) {
        let [one, other] = [(); 2].map(|()| Models::new(Vec::new(), rewrites.clone()));
        let target = |models: &Models, dice| models.target(&incoming, Some(&session), dice).map(str::to_owned);
        prop_assert_eq!(target(&one, dice[0]), target(&other, dice[1]));
    }

    #[test]
    fn what_is_made_of_its_own_parts_is_the_same(rewrites in any_rewrites(), names in vec("[a-d]{1,2}", 0..5)) {
        let objectives = names.into_iter().zip(1..).map(|(name, priority)| Objective { name, priority }).collect();
        let models = Models::new(objectives, rewrites);
        let again = Models::new(models.objectives().to_vec(), models.rewrites().to_vec());
        prop_assert_eq!(models, again);
    }

    /// More weight for one target takes sessions to it, and none away from it.
    #[test]
    fn a_canary_that_grows_keeps_its_sessions(weights in [1_u32..100, 1_u32..100], session in "[a-z]{1,8}") {
        let [small, more] = weights;
        let at = |canary: u32| {
            let rule = rule(&["m"], &[("stable", Some(200 - canary)), ("canary", Some(canary))]);
            let models = Models::new(Vec::new(), vec![rewrite("r", None, vec![rule])]);
            models.target("m", Some(&session), 0) == Some("canary")
        };
        prop_assert!(!at(small) || at(small + more));
    }
}
