//! Plugin types that have another name now.

/// Names of plugin types in older releases of the Go EPP, and those that they have now.
const OLDER: [(&str, &str); 2] = [
    ("model-server-protocol-metrics", "core-metrics-extractor"),
    ("kv-cache-scorer", "kv-cache-utilization-scorer"),
];

/// Returns the name that the plugin type `written` has now.
pub(crate) fn current_type(written: &str) -> &str {
    OLDER.iter().find(|(older, _)| *older == written).map_or(written, |(_, now)| now)
}
