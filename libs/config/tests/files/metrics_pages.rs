//! What a file says of metrics pages.

use signalbox_types::{Engine, MetricsTls, PageSettings};

use crate::support::{problems, read, warnings};

/// Returns a file whose `metrics-data-source` has these parameters.
fn source(parameters: &str) -> String {
    format!(
        "plugins:\n- type: queue-scorer\n- {{ type: metrics-data-source, parameters: {{ {parameters} }} }}\n"
    )
}

#[test]
fn place_and_engines_of_pages_are_read() {
    let place = read(&source("scheme: https, port: 9443, path: /stats, insecureSkipVerify: false"));
    let expected = PageSettings {
        is_https: true,
        port: Some(9_443),
        path: Some("/stats".to_owned()),
        ..PageSettings::default()
    };
    assert_eq!(expected, place.pages);
    let engines = read(
        "plugins:
- type: queue-scorer
- type: core-metrics-extractor
  parameters:
    engineLabelKey: server
    defaultEngine: mine
    engineConfigs: [{ name: mine, queuedRequestsSpec: mine_waiting }]
",
    )
    .pages;
    assert_eq!(Some("server"), engines.engine_label.as_deref());
    let Engine::Custom(mine) = &engines.default_engine else { panic!("{engines:?}") };
    assert_eq!(("mine", [mine.clone()].as_slice()), (mine.name.as_str(), engines.engines.as_slice()));
    let unknown = problems(
        "plugins: [{ type: queue-scorer }, { type: core-metrics-extractor, parameters: { defaultEngine: mine } }]",
    );
    assert!(unknown.contains("parameters.defaultEngine: unknown engine \"mine\""), "{unknown}");
}

#[test]
fn https_pages_without_a_word_about_certificates_are_warned_of() {
    let differs =
        "line 5: plugins[1].parameters.scheme: certificates must be valid here, unlike in the Go EPP";
    for (parameters, is_warned, tls) in [
        ("scheme: https", true, MetricsTls::Verified),
        ("scheme: https, insecureSkipVerify: false", false, MetricsTls::Verified),
        ("scheme: https, insecureSkipVerify: true", false, MetricsTls::Unverified),
        ("scheme: http", false, MetricsTls::Verified),
        ("port: 9000", false, MetricsTls::Verified),
    ] {
        let read = read(&source(parameters));
        let warnings = warnings(&read);
        assert_eq!(is_warned, warnings.iter().any(|warning| warning.starts_with(differs)), "{warnings:?}");
        assert_eq!(tls, read.pages.tls, "{parameters}");
    }
}
