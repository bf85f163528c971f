//! The values of users of each version of the chart so far.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::render::{repository_file, yaml};

/// The folder of the values files, below the root of the repository.
const FOLDER: &str = "integration/kubernetes/tests/chart";

/// Returns the values of each version, with the name of their file.
pub(crate) fn versions() -> anyhow::Result<Vec<(String, Value)>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER);
    let mut versions = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with("values-") {
            versions.push((name.clone(), document(&format!("{FOLDER}/{name}"))?));
        }
    }
    versions.sort_by(|one, other| one.0.cmp(&other.0));
    ensure!(!versions.is_empty(), "there are no values files in {FOLDER}");
    Ok(versions)
}

/// Checks that there are values of the present version, which set every value.
pub(crate) fn check_present_version() -> anyhow::Result<()> {
    let chart = document("helm/signalbox/Chart.yaml")?;
    let version = chart["version"].as_str().context("the chart has no version")?;
    let file = format!("{FOLDER}/values-{version}.yaml");
    let values =
        document(&file).context("each version of the chart needs such a file, see CONTRIBUTING.md")?;
    let mut missing = Vec::new();
    missing_keys(&document("helm/signalbox/values.yaml")?, &values, "", &mut missing);
    ensure!(missing.is_empty(), "{file} does not set {}", missing.join(", "));
    Ok(())
}

/// Collects the keys, at any depth, that `all` has and `some` has not.
fn missing_keys(all: &Value, some: &Value, path: &str, missing: &mut Vec<String>) {
    for (key, value) in all.as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        match some.get(key) {
            None => missing.push(path),
            Some(found) => missing_keys(value, found, &path, missing),
        }
    }
}

fn document(path: &str) -> anyhow::Result<Value> {
    let documents = yaml(&repository_file(path)?).with_context(|| path.to_owned())?;
    documents.into_iter().next().with_context(|| format!("{path} is empty"))
}
