//! Files of older releases of the Go EPP, and what its loader adds to files.

use signalbox_flow::{Detector, FlowSettings};
use signalbox_schedule::Scorer;

use crate::support::{PREFIX, QUEUE, problems, read, scorers, warnings};

const QUEUE_ONLY: &str = "plugins: [{ type: queue-scorer }]\n";

fn detector(rest: &str) -> Detector {
    read(&format!("{QUEUE_ONLY}{rest}")).flow_control.settings.detector
}

#[test]
fn default_detector_need_not_be_declared() {
    let utilization = Detector::Utilization { queue_depth: 5.0, kv_use: 0.8 };
    assert_eq!(utilization, detector("saturationDetector: { pluginRef: utilization-detector }"));
    assert_eq!(
        utilization,
        detector("flowControl: { saturationDetector: { pluginRef: utilization-detector } }")
    );
    assert_eq!(
        Detector::default(),
        detector("flowControl: { saturationDetector: { pluginRef: wait-detector } }")
    );
    let undeclared =
        problems(&format!("{QUEUE_ONLY}saturationDetector: {{ pluginRef: concurrency-detector }}"));
    assert_eq!(
        "line 4: saturationDetector.pluginRef: plugins declares no saturation detector named \"concurrency-detector\"; declare it there",
        undeclared
    );
}

#[test]
fn empty_detector_is_the_default() {
    for empty in ["{}", "{ pluginRef: }", "{ pluginRef: \"\" }", "null", ""] {
        let nested = read(&format!("{QUEUE_ONLY}flowControl:\n  saturationDetector: {empty}\n"));
        assert_eq!(FlowSettings::default().detector, nested.flow_control.settings.detector, "{empty}");
        assert!(warnings(&nested).is_empty(), "{empty}: {:?}", warnings(&nested));
        let top = format!("saturationDetector: {empty}\n");
        assert_eq!(FlowSettings::default().detector, detector(&top), "{empty}");
    }
}

#[test]
fn newer_detector_counts() {
    let both = format!(
        "{QUEUE_ONLY}saturationDetector: {{ pluginRef: utilization-detector }}\n\
         flowControl: {{ saturationDetector: {{ pluginRef: wait-detector }} }}\n"
    );
    let read = read(&both);
    assert_eq!(Detector::default(), read.flow_control.settings.detector);
    let expected =
        "line 4: saturationDetector: has no effect besides flowControl.saturationDetector; remove it";
    assert_eq!(vec![expected], warnings(&read));
}

#[test]
fn detector_with_its_parameters_in_place_says_where_each_went() {
    let read = read(&format!(
        "{QUEUE_ONLY}saturationDetector:\n  queueDepthThreshold: 2\n  kvCacheUtilThreshold: 0.9\n  metricsStalenessThreshold: 200ms\n"
    ));
    let expected = Detector::Utilization { queue_depth: 2.0, kv_use: 0.9 };
    assert_eq!(expected, read.flow_control.settings.detector);
    let warnings = warnings(&read);
    assert_eq!(4, warnings.len(), "{warnings:?}");
    for (line, name) in
        [(5, "queueDepthThreshold"), (6, "kvCacheUtilThreshold"), (7, "metricsStalenessThreshold")]
    {
        let expected = format!(
            "line {line}: saturationDetector.{name}: is the form of older releases; it is now the parameter {name} of a plugin of type utilization-detector"
        );
        assert!(warnings.iter().any(|warning| warning.starts_with(&expected)), "{expected} in {warnings:?}");
    }
    let misspelt =
        problems(&format!("{QUEUE_ONLY}saturationDetector: {{ queueDepthThreshold: 2, kvCache: 1 }}"));
    assert!(misspelt.contains("saturationDetector.kvCache: unknown field"), "{misspelt}");
}

#[test]
fn prefix_parameters_of_the_scorer_say_where_each_went() {
    let read = read(
        "plugins:
- type: prefix-cache-scorer
  parameters:
    autoTune: false
    blockSize: 5
    lruIndexerCapacity: 10000
    matchLengthWeight: 0.5
    mode: estimate
",
    );
    let expected = Scorer::PrefixCache { length_weight: 0.5, scale_tokens: 8_192.0 };
    assert_eq!(vec![(expected, 1.0)], scorers(&read));
    let warnings = warnings(&read);
    for (line, name, now) in [
        (6, "autoTune", "autoTune"),
        (7, "blockSize", "blockSizeTokens"),
        (8, "lruIndexerCapacity", "lruCapacityPerServer"),
    ] {
        let start = format!("line {line}: plugins[0].parameters.{name}: ");
        let found = warnings.iter().find(|warning| warning.starts_with(&start)).unwrap();
        assert!(found.contains(now) && found.contains("approx-prefix-cache-producer"), "{found}");
    }
    assert_eq!(4, warnings.len(), "{warnings:?}");
    let problems = problems(
        "plugins: [{ type: prefix-cache-scorer, parameters: { hashBlockSize: many, mode: cache_tracking } }]",
    );
    assert!(problems.contains("hashBlockSize: expected a number"), "{problems}");
    assert!(problems.contains("mode: only estimate is supported"), "{problems}");
}

#[test]
fn older_gates_types_and_sections_are_accepted_with_a_warning() {
    let read = read(
        "featureGates: [dataLayer, prepareDataPlugins=true, model-server-protocol-metrics]
plugins:
- type: kv-cache-scorer
- { name: pages, type: model-server-protocol-metrics }
- type: metrics-data-source
data:
  sources:
  - { pluginRef: metrics-data-source, extractors: [{ pluginRef: pages }] }
",
    );
    assert_eq!(vec![(Scorer::KvCacheFree, 1.0)], scorers(&read));
    let warnings = warnings(&read);
    for expected in [
        "featureGates[0]: \"dataLayer\" is a gate of older releases, without effect",
        "featureGates[1]: \"prepareDataPlugins\" is a gate of older releases, without effect",
        "featureGates[2]: \"model-server-protocol-metrics\" is a gate of older releases, without effect",
        "plugins[0]: \"kv-cache-scorer\" is the older name of kv-cache-utilization-scorer; write that",
        "plugins[1]: \"model-server-protocol-metrics\" is the older name of core-metrics-extractor; write that",
        "line 9: data: is the older name of dataLayer; write that",
    ] {
        assert!(warnings.iter().any(|warning| warning.contains(expected)), "{expected} in {warnings:?}");
    }
    assert_eq!(6, warnings.len(), "{warnings:?}");
    let both = problems(&format!("{QUEUE_ONLY}data: {{ sources: 1 }}\ndataLayer: {{ sources: 2 }}\n"));
    assert_eq!("line 5: dataLayer.sources: expected a list or [], found a number", both);
}

#[test]
fn newer_parsers_count() {
    let read = read(
        "plugins: [{ type: queue-scorer }]
parser: { pluginRef: nobody }
requestHandler: { parsers: [{ pluginRef: openai-parser }, { pluginRef: vllmhttp-parser }] }
",
    );
    assert_eq!(vec!["openai-parser", "vllmhttp-parser"], read.parsers);
    let expected = "line 4: parser: has no effect besides requestHandler.parsers; remove it";
    assert_eq!(vec![expected], warnings(&read));
}

#[test]
fn older_parser_counts_alone() {
    for list in ["", "requestHandler: {}\n", "requestHandler: { parsers: [] }\n"] {
        let read = read(&format!("{QUEUE_ONLY}{list}parser: {{ pluginRef: openai-parser }}\n"));
        assert_eq!(vec!["openai-parser"], read.parsers, "{list}");
        assert!(warnings(&read)[0].contains("parser is deprecated"), "{list}");
    }
}

/// A reference to a plugin whose declaration is a problem is not another one.
#[test]
fn one_mistake_gives_one_message() {
    for (declared, references) in [
        (
            "- type: topology-affinity-filter",
            "schedulingProfiles: [{ name: a, plugins: [{ pluginRef: topology-affinity-filter }] }]",
        ),
        (
            "- type: latency-scorer",
            "schedulingProfiles: [{ name: a, plugins: [{ pluginRef: latency-scorer, weight: 3 }] }]",
        ),
        (
            "- { name: x, type: queue-scorr }",
            "schedulingProfiles: [{ name: a, plugins: [{ pluginRef: x, weight: 3 }] }]",
        ),
        (
            "- { name: x, typ: queue-scorer }",
            "schedulingProfiles: [{ name: a, plugins: [{ pluginRef: x, weight: 3 }] }]",
        ),
        ("- { name: x, type: openai-parse }", "requestHandler: { parsers: [{ pluginRef: x }] }"),
        ("- { name: x, type: utilisation-detector }", "saturationDetector: { pluginRef: x }"),
        ("- { name: x, type: file-discovery }", "flowControl: { saturationDetector: { pluginRef: x } }"),
        (
            "- { name: x, type: fcfs-ordering }",
            "flowControl: { priorityBands: [{ priority: 1, orderingPolicyRef: x }] }",
        ),
        ("- { name: x, type: static-limit }", "flowControl: { usageLimitPolicyPluginRef: x }"),
        ("- { name: x, type: models-data-source }", "dataLayer: { sources: [{ pluginRef: x }] }"),
        ("- { type: precise-prefix-cache-producer }", "# a reader of it"),
    ] {
        let reader = "- { type: no-hit-lru-scorer, parameters: { prefixMatchInfoProducerName: precise-prefix-cache-producer } }";
        let reader = if references.starts_with('#') { reader } else { "- type: queue-scorer" };
        let found = problems(&format!("plugins:\n{declared}\n{reader}\n{references}\n"));
        let lines: Vec<_> = found.lines().filter(|line| !line.contains("typ: unknown field")).collect();
        assert_eq!(1, lines.len(), "{declared}: {found}");
        assert!(lines[0].starts_with("line 4: plugins[0]"), "{found}");
    }
}

#[test]
fn reference_to_an_undeclared_plugin_that_cannot_be_declared_says_so() {
    let found = problems(&format!(
        "{QUEUE_ONLY}schedulingProfiles: [{{ name: a, plugins: [{{ pluginRef: latency-scorer }}] }}]"
    ));
    let expected = "line 4: schedulingProfiles[0].plugins[0].pluginRef: no plugin is named \"latency-scorer\"; the plugin type is not supported yet, it needs predicted latency; remove it";
    assert_eq!(expected, found);
}

#[test]
fn aliases_and_merge_keys_are_resolved() {
    let read = read(
        "plugins:
- &queue { type: queue-scorer }
- { type: prefix-cache-scorer, name: &prefix cached }
schedulingProfiles:
- name: default
  plugins:
  - { pluginRef: *prefix, weight: &three 3 }
  - { pluginRef: queue-scorer, weight: *three }
",
    );
    assert_eq!(vec![(PREFIX, 3.0), (QUEUE, 3.0)], scorers(&read));
}
