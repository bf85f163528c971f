//! Describes in plain text where metrics pages are and how they are read.

use signalbox_types::{CustomEngine, MetricSpec, MetricsTls, PageSettings};

/// Describes what differs from the defaults: one line each.
pub(super) fn describe(pages: &PageSettings) -> Vec<String> {
    let mut lines = vec![format!("engine of an endpoint that names none: {}", pages.default_engine)];
    if let Some(label) = &pages.engine_label {
        lines.push(format!("label of pods with the engine: {label}"));
    }
    lines.extend(pages.engines.iter().map(|engine| format!("engine {}: {}", engine.name, metrics(engine))));
    let part = |name: &str, value: Option<String>| value.map(|value| format!("{name} {value}"));
    let scheme = pages.is_https.then(|| "https".to_owned());
    let place: Vec<_> = [
        part("scheme", scheme),
        part("port", pages.port.map(|port| port.to_string())),
        part("path", pages.path.clone()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !place.is_empty() {
        lines.push(format!("page of an endpoint that names none: {}", place.join(", ")));
    }
    if pages.tls == MetricsTls::Unverified {
        lines.push("any certificate is accepted".to_owned());
    }
    lines
}

fn metrics(engine: &CustomEngine) -> String {
    let CustomEngine { waiting, running, kv_use, adapters, cache_info, block_tokens, blocks, .. } = engine;
    let named = [
        ("waiting requests", waiting),
        ("running requests", running),
        ("KV cache use", kv_use),
        ("adapters", adapters),
        ("KV cache capacity", cache_info),
        ("tokens per block", block_tokens),
        ("blocks", blocks),
    ];
    let shown = |(meaning, spec): (&str, &Option<MetricSpec>)| Some(format!("{meaning} {}", spec.as_ref()?));
    named.into_iter().filter_map(shown).collect::<Vec<_>>().join(", ")
}
