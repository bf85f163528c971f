//! The workspace builds one version of each heavy crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use crate::workspace::root;

/// Crates that are slow to build, or whose types appear in our signatures.
const HEAVY: &[&str] = &[
    "axum",
    "bytes",
    "clap",
    "dashmap",
    "h2",
    "http",
    "http-body",
    "hyper",
    "hyper-util",
    "prometheus-client",
    "prost",
    "prost-types",
    "ractor",
    "serde",
    "serde_json",
    "tokio",
    "tokio-util",
    "tonic",
    "tower",
    "tracing",
];

#[test]
fn there_is_one_version_of_each_heavy_crate() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).expect("Cargo.lock can be read");
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"'));
        let (name, version) = (field("name = \""), field("version = \""));
        versions.entry(name.unwrap()).or_default().insert(version.unwrap());
    }
    for name in HEAVY {
        let found = versions.get(name).unwrap_or_else(|| panic!("{name} is no longer used: remove it here"));
        assert_eq!(found.len(), 1, "{name} is built in several versions: {found:?}");
    }
}
