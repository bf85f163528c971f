//! Whole files with objects: valid ones, invalid ones, and ones that reference other pools.

use signalbox_types::{ModelRewrite, Models, Objective, PageSettings, RewriteRule, RewriteTarget};

use crate::endpoints_file::{Parsed, parse};

const POOL: &str = "\
apiVersion: signalbox/v1
kind: Endpoints
pool: { name: llama3, namespace: prod }
endpoints: []
";

/// The documentation of the file, which contains an example.
const DOCUMENTATION: &str = include_str!("../../../../../docs/ENDPOINTS.md");

fn read(objects: &str) -> Parsed {
    let text = format!("{POOL}---\n{objects}");
    parse(&text, &PageSettings::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn models(objects: &str) -> Models {
    let Parsed { spec, ignored, .. } = read(objects);
    assert!(ignored.is_empty(), "{ignored:?}");
    Models::clone(&spec.models)
}

/// Returns the problems of `objects`, one per line. The objects start on line 6.
fn problems(objects: &str) -> String {
    parse(&format!("{POOL}---\n{objects}"), &PageSettings::default()).unwrap_err().to_string()
}

fn objective(name: &str, priority: i32) -> Objective {
    Objective { name: name.to_owned(), priority }
}

fn rule(models: &[&str], targets: &[(&str, Option<u32>)]) -> RewriteRule {
    let target =
        |(model, weight): &(&str, Option<u32>)| RewriteTarget { model: (*model).to_owned(), weight: *weight };
    RewriteRule {
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        targets: targets.iter().map(target).collect(),
    }
}

fn rewrite(name: &str, created_ms: Option<u64>, rules: Vec<RewriteRule>) -> ModelRewrite {
    ModelRewrite { name: name.to_owned(), created_ms, rules }
}

#[test]
fn objects_of_a_cluster_are_read() {
    let models = models(
        "\
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata:
  name: interactive
  namespace: prod
  uid: 0f7f8a5e
  generation: 3
  creationTimestamp: \"2026-01-31T12:00:00Z\"
  managedFields: [{ manager: kubectl, fieldsV1: { f:spec: {} } }]
spec: { priority: 10, poolRef: { group: inference.networking.k8s.io, kind: InferencePool, name: llama3 } }
status: { conditions: [{ type: Accepted, status: 'True' }] }
---
{ apiVersion: inference.networking.x-k8s.io/v1alpha2, kind: InferenceObjective,
  metadata: { name: batch, creationTimestamp: null }, spec: { poolRef: { name: llama3 }, priority: -3 } }
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceObjective
metadata: { name: plain }
spec: { poolRef: { name: llama3 } }
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: split, creationTimestamp: 2026-01-31T12:00:00.25Z }
spec:
  poolRef: { name: llama3 }
  rules:
  - matches: [{ model: { type: Exact, value: food } }, { model: { value: drinks } }]
    targets: [{ weight: 90, modelRewrite: food-v1 }, { modelRewrite: food-v2 }]
  - targets: [{ modelRewrite: base }]
",
    );
    let rules = vec![
        rule(&["food", "drinks"], &[("food-v1", Some(90)), ("food-v2", None)]),
        rule(&[], &[("base", None)]),
    ];
    let objectives = vec![objective("interactive", 10), objective("batch", -3), objective("plain", 0)];
    assert_eq!(Models::new(objectives, vec![rewrite("split", Some(1_769_860_800_250), rules)]), models);
}

#[test]
fn inference_model_is_an_objective_and_with_targets_also_a_rewrite() {
    let of = |name: &str, rest: &str| {
        format!(
            "---\napiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: InferenceModel\nmetadata: {{ name: {name} }}\n\
             spec: {{ modelName: food, poolRef: {{ name: llama3 }}{rest} }}\n"
        )
    };
    let text = of(
        "critical",
        ", criticality: Critical, targetModels: [{ name: food-v1, weight: 1 }, { name: food-v2, weight: 3 }]",
    ) + &of("standard", ", criticality: Standard, targetModels: []")
        + &of("sheddable", ", criticality: Sheddable")
        + &of("without-criticality", "");
    let objectives = vec![
        objective("critical", 10),
        objective("standard", 0),
        objective("sheddable", -10),
        objective("without-criticality", 0),
    ];
    let rules = vec![rule(&["food"], &[("food-v1", Some(1)), ("food-v2", Some(3))])];
    assert_eq!(Models::new(objectives, vec![rewrite("critical", None, rules)]), models(&text));
}

#[test]
fn inference_objective_has_an_early_form_with_a_criticality() {
    let of = |rest: &str| {
        format!(
            "apiVersion: inference.networking.k8s.io/v1alpha2\nkind: InferenceObjective\nmetadata: {{ name: early }}\n\
             spec: {{ poolRef: {{ name: llama3 }}{rest} }}\n"
        )
    };
    let early = of(", modelName: food, criticality: Critical");
    assert_eq!(Models::new(vec![objective("early", 10)], Vec::new()), models(&early));
    let both = "line 9: spec.criticality: cannot be given together with priority; remove one of them";
    assert_eq!(both, problems(&of(", criticality: Critical, priority: 1")));
    let unknown =
        "line 9: spec.criticality: \"High\" is not supported; write Critical, Standard or Sheddable";
    assert_eq!(unknown, problems(&of(", criticality: High")));
}

#[test]
fn objects_that_reference_other_pools_are_ignored_and_returned() {
    let of = |name: &str, metadata: &str, pool: &str| {
        format!(
            "---\napiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: {{ name: {name}{metadata} }}\n\
             spec: {{ poolRef: {{ {pool} }}, priority: 1 }}\n"
        )
    };
    let text = of("own", "", "name: llama3, group: inference.networking.x-k8s.io")
        + &of("own", "", "name: other")
        + &of("own", "", "name: llama3, group: example.com")
        + &of("own", "", "name: llama3, kind: Service")
        + &of("own", ", namespace: test", "name: llama3");
    let Parsed { spec, ignored, .. } = read(&text);
    assert_eq!(Models::new(vec![objective("own", 1)], Vec::new()), *spec.models);
    let ignored: Vec<_> = ignored.iter().map(ToString::to_string).collect();
    let expected = [
        "line 12: InferenceObjective \"own\" references InferencePool.inference.networking.k8s.io \"prod/other\"",
        "line 17: InferenceObjective \"own\" references InferencePool.example.com \"prod/llama3\"",
        "line 22: InferenceObjective \"own\" references Service.inference.networking.k8s.io \"prod/llama3\"",
        "line 27: InferenceObjective \"own\" references InferencePool.inference.networking.k8s.io \"test/llama3\"",
    ];
    assert_eq!(expected.to_vec(), ignored);
}

#[test]
fn problems_of_all_documents_are_reported_at_once() {
    let text = "\
apiVersion: llm-d.ai/v1
kind: InferenceObjective
metadata: { labels: { a: b } }
spec: { poolRef: { nmae: llama3, kind: InferencePool }, priority: 1.5, targetModels: [] }
spce: {}
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModel
metadata: { name: legacy, creationTimestamp: yesterday }
spec: { modelName: '', criticality: High, targetModels: [{ name: 17, weight: 0 }, { model: m }] }
---
kind: InferenceObjectives
---
kind: Pod
---
- a list
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: split }
spec:
  poolRef: { name: llama3 }
  rules:
  - matches: [{ model: { type: Regex, value: x } }, { header: h }]
    targets: []
  - targets: [{ modelRewrite: m, weight: 1000001 }]
    target: [{}]
  - matches: []
---
apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: { name: split }
spec: { poolRef: { name: llama3 } }
";
    let expected = r#"line 6: apiVersion: "llm-d.ai/v1" is not supported; write apiVersion: llm-d.ai/v1alpha2 or inference.networking.x-k8s.io/v1alpha2
line 8: metadata.name: missing; write name: NAME
line 9: spec.targetModels: unknown field; known fields: poolRef, priority, modelName, criticality
line 9: spec.poolRef.nmae: unknown field; did you mean "name"?
line 9: spec.poolRef.name: missing; write name: POOL
line 9: spec.priority: must be a whole number from -2147483648 to 2147483647
line 10: spce: unknown field; did you mean "spec"?
line 12: apiVersion: "llm-d.ai/v1alpha2" is not supported; write apiVersion: inference.networking.x-k8s.io/v1alpha2
line 14: metadata.creationTimestamp: "yesterday" is not a time in UTC; write it like 2026-01-31T12:00:00Z
line 15: spec.poolRef: missing; write poolRef: { name: POOL }
line 15: spec.modelName: must not be empty; write the name of a model
line 15: spec.criticality: "High" is not supported; write Critical, Standard or Sheddable
line 15: spec.targetModels[0].name: 17 is a number, expected text; write "17"
line 15: spec.targetModels[0].weight: must be a whole number from 1 to 1000000
line 15: spec.targetModels[1].model: unknown field; known fields: name, weight
line 15: spec.targetModels[1].name: missing; write name: MODEL
line 17: kind: "InferenceObjectives" is not a supported kind; did you mean "InferenceObjective"?
line 19: kind: "Pod" is not a supported kind; use one of: InferenceObjective, InferenceModelRewrite, InferenceModel
line 21: expected a mapping, found a list
line 29: spec.rules[0].matches[0].model.type: "Regex" is not supported; write Exact or remove the field
line 29: spec.rules[0].matches[1].header: unknown field; known fields: model
line 29: spec.rules[0].matches[1].model: missing; write model: { value: MODEL }
line 30: spec.rules[0].targets: must not be empty; name at least one target
line 31: spec.rules[1].targets[0].weight: must be a whole number from 1 to 1000000
line 32: spec.rules[1].target: unknown field; did you mean "targets"?
line 33: spec.rules[2].targets: missing; write targets: a list of one or more targets
line 37: metadata.name: "split" is already the name of the InferenceModelRewrite on line 25; use another
line 38: spec.rules: missing; write rules: a list of rules"#;
    assert_eq!(expected, problems(text));
}

#[test]
fn inference_model_uses_its_name_for_an_objective_and_a_rewrite() {
    let of = |api: &str, kind: &str, spec: &str| {
        format!(
            "---\napiVersion: {api}\nkind: {kind}\nmetadata: {{ name: food }}\nspec: {{ poolRef: {{ name: llama3 }}{spec} }}\n"
        )
    };
    let model = of(
        "inference.networking.x-k8s.io/v1alpha2",
        "InferenceModel",
        ", modelName: food, targetModels: [{ name: food-v1 }]",
    );
    let objective = of("llm-d.ai/v1alpha2", "InferenceObjective", "");
    let rewrite = of("llm-d.ai/v1alpha2", "InferenceModelRewrite", ", rules: []");
    let used = |kind: &str| {
        format!("line 14: metadata.name: \"food\" is already the name of the {kind} on line 9; use another")
    };
    assert_eq!(used("InferenceModel"), problems(&(model.clone() + &objective)));
    assert_eq!(used("InferenceModelRewrite"), problems(&(rewrite.clone() + &model)));
    assert_eq!(1, models(&(rewrite + &objective)).objectives().len());
}

#[test]
fn invalid_yaml_does_not_hide_the_problems_before_it() {
    let text =
        "apiVersion: llm-d.ai/v1alpha2\nkind: InferenceObjective\nmetadata: {}\nspec: {}\n---\na: b: c\n";
    let all = problems(text);
    let lines: Vec<_> = all.lines().collect();
    assert_eq!("line 8: metadata.name: missing; write name: NAME", lines[0]);
    assert_eq!("line 9: spec.poolRef: missing; write poolRef: { name: POOL }", lines[1]);
    assert!(lines[2].starts_with("line 11: invalid YAML at column 5"), "{all}");
}

#[test]
fn documented_example_is_valid() {
    let section = DOCUMENTATION.split("## Objectives and rewrites").nth(1).expect("the section exists");
    let example = section.split("```yaml\n").nth(1).and_then(|after| after.split("```").next());
    let Parsed { spec, ignored, .. } =
        parse(example.expect("the section has an example"), &PageSettings::default()).unwrap();
    assert!(ignored.is_empty() && !spec.models.objectives().is_empty() && !spec.models.rewrites().is_empty());
}
