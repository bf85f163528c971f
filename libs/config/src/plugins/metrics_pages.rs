//! Plugins that say where metrics pages are and how they are read. Aggregators that are given the file act on it.

use signalbox_document::quoted;
use signalbox_objects::read_custom_engines;
use signalbox_types::MetricsTls;

use super::plugin::Plugin;
use crate::diagnostics::Diagnostics;
use crate::parameters::Bounds;

/// The engine of pods that name none, unless the file says otherwise.
const DEFAULT_ENGINE: &str = "vllm";

/// Parameters of `metrics-data-source` that are flags of collectors, with those flags.
const COLLECTOR_FLAGS: [(&str, &str); 4] = [
    ("caCertPath", "--metrics-ca"),
    ("clientCertPath", "--metrics-cert"),
    ("clientKeyPath", "--metrics-key"),
    ("interval", "--scrape-interval"),
];

pub(crate) fn source(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) {
    let known = ["scheme", "path", "port", "insecureSkipVerify"];
    let known: Vec<_> = known.into_iter().chain(COLLECTOR_FLAGS.map(|(name, _)| name)).collect();
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&known, problems);
    let pages = &mut diagnostics.pages;
    pages.is_https = parameters.choice("scheme", &[("http", false), ("https", true)], false, problems);
    pages.port =
        parameters.optional("port").and_then(|at| Bounds::PORT.read(&at, problems)).map(|port| port as u16);
    pages.path = parameters.text("path", problems).map(str::to_owned);
    if let Some(at) = parameters.optional("path")
        && pages.path.as_ref().is_some_and(|path| !path.starts_with('/'))
    {
        at.report(problems, "is not a path; write it like /metrics");
    }
    pages.tls = MetricsTls::unless_skipped(parameters.boolean("insecureSkipVerify", false, problems));
    // The Go EPP accepts any certificate unless told otherwise, so a file that worked there may need the setting here.
    if pages.is_https
        && parameters.optional("insecureSkipVerify").is_none()
        && let Some(at) = parameters.optional("scheme")
    {
        diagnostics.add_warning(
            &at,
            "certificates must be valid here, unlike in the Go EPP; if those of the pods are not, write insecureSkipVerify: true",
        );
    }
    for (name, flag) in COLLECTOR_FLAGS {
        let _ = parameters.text(name, &mut diagnostics.problems);
        if let Some(at) = parameters.optional(name) {
            diagnostics.add_warning(&at, format!("has no effect here; give {flag} to the collectors"));
        }
    }
}

pub(crate) fn extractor(plugin: &Plugin<'_>, diagnostics: &mut Diagnostics) {
    const CUSTOM_METRICS: &str = "customMetrics";
    let problems = &mut diagnostics.problems;
    let parameters = plugin.parameters(&["engineLabelKey", "defaultEngine", "engineConfigs"], problems);
    let pages = &mut diagnostics.pages;
    pages.engine_label = parameters.text("engineLabelKey", problems).map(str::to_owned);
    if let Some(list) = parameters.optional("engineConfigs").filter(|at| !at.is_null()) {
        pages.engines = read_custom_engines(&list, &[CUSTOM_METRICS], problems);
        for item in list.items(&mut Default::default()).unwrap_or_default() {
            let fields = item.lenient_fields(&mut Default::default());
            if let Some(at) = fields.and_then(|fields| fields.non_null(CUSTOM_METRICS)) {
                at.report(
                    &mut diagnostics.ignored,
                    "endpoints have no attributes beyond their labels, adapters, queue and KV cache",
                );
            }
        }
    }
    let problems = &mut diagnostics.problems;
    // A described engine can have the name of the default one.
    let name = parameters.text("defaultEngine", problems).unwrap_or(DEFAULT_ENGINE);
    match pages.engine(name) {
        Ok(engine) => pages.default_engine = engine,
        Err(error) => {
            if let Some(at) = parameters.optional("defaultEngine") {
                at.report(problems, format!("{error}, or describe {} in engineConfigs", quoted(name)));
            }
        }
    }
}
