//! The report with all measurements, and its file.

use std::fmt::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use signalbox_bench_report::{Provenance, read_report, write_text};

use super::run_metrics::{RunMetrics, columns};
use super::scenes::Scene;
use crate::policies::{SIGNALBOX, SPLIT, contenders, is_variant};

/// All measurements of a benchmark run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) provenance: Provenance,
    /// The arguments of the program; files without their folders.
    pub(crate) arguments: Vec<String>,
    pub(crate) trace: Option<TraceSummary>,
    pub(crate) seeds: Vec<u64>,
    pub(crate) scenes: Vec<SceneSummary>,
    pub(crate) results: Vec<ContenderResult>,
}

/// The trace that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TraceSummary {
    /// Name of the file, without its folder.
    pub(crate) file: String,
    pub(crate) sha256: String,
    pub(crate) requests: usize,
}

/// A scene. Lists have one entry per seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SceneSummary {
    pub(crate) name: String,
    /// Where the requests come from.
    pub(crate) source: String,
    /// The number of pods of each profile.
    pub(crate) pods: String,
    pub(crate) shares_prefixes: bool,
    /// Whether the pods are not all alike.
    pub(crate) is_mixed: bool,
    pub(crate) requests: Vec<usize>,
    pub(crate) saturation_per_second: Vec<f64>,
    /// What no contender can beat.
    #[serde(with = "columns")]
    pub(crate) lower_bounds: Vec<RunMetrics>,
    /// Estimates with one cache for all pods.
    #[serde(with = "columns")]
    pub(crate) single_cache: Vec<RunMetrics>,
}

/// The runs of one contender at one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ContenderResult {
    pub(crate) scene: String,
    pub(crate) load_percent: u32,
    pub(crate) replicas: usize,
    pub(crate) contender: String,
    /// One entry per seed.
    #[serde(with = "columns")]
    pub(crate) runs: Vec<RunMetrics>,
}

impl ContenderResult {
    pub(super) fn key(&self) -> (&str, u32, usize, &str) {
        (&self.scene, self.load_percent, self.replicas, &self.contender)
    }

    /// Returns the mean of each metric over the seeds.
    pub(super) fn mean(&self) -> RunMetrics {
        RunMetrics::mean(&self.runs)
    }

    pub(super) fn is_split(&self) -> bool {
        self.contender.starts_with(SPLIT)
    }

    /// Returns whether this is a contender that goals compare Signalbox with: no static split, and no contender with
    /// changed settings.
    pub(super) fn is_other(&self) -> bool {
        self.contender != SIGNALBOX && !self.is_split() && !is_variant(&self.contender)
    }
}

impl Report {
    /// Returns whether all contenders ran in each scene.
    pub(super) fn has_all_contenders(&self) -> bool {
        let has_all = |summary: &SceneSummary| {
            let ran = |name: &str| {
                self.results.iter().any(|result| result.scene == summary.name && result.contender == name)
            };
            let scene = Scene::find(&summary.name);
            scene.is_some_and(|scene| {
                contenders(&scene.pod_profiles()).iter().all(|contender| ran(&contender.name))
            })
        };
        self.scenes.iter().all(has_all)
    }

    /// Reads a report.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is no report.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        read_report(path, "routing")
    }

    /// Writes the report.
    ///
    /// # Errors
    /// Fails when the file cannot be written.
    pub(super) fn write(&self, path: &Path) -> anyhow::Result<()> {
        write_text(path, &lines(&serde_json::to_value(self)?))
    }
}

/// Returns an object with a line for each value and for each element of a list, so that differences between
/// two files are easy to read.
fn lines(value: &Value) -> String {
    let mut text = String::from("{\n");
    let fields = value.as_object().into_iter().flatten();
    for (at, (name, value)) in fields.enumerate() {
        let separator = if at == 0 { "" } else { ",\n" };
        let _ = write!(text, "{separator}\"{name}\": ");
        match value.as_array() {
            Some(elements) => {
                let lines: Vec<_> = elements.iter().map(Value::to_string).collect();
                let _ = write!(text, "[\n{}\n]", lines.join(",\n"));
            }
            None => text.push_str(&value.to_string()),
        }
    }
    text.push_str("\n}");
    text
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a report of one scene at 70 % load with four replicas and two seeds, whose contenders have
    /// these mean times to first token; 90 % of the requests take at most twice the mean.
    pub(in super::super) fn report(bounds_ms: [f64; 2], contenders: &[(&str, [f64; 2])]) -> Report {
        let runs = |means: &[f64; 2]| means.iter().map(|mean| run(*mean)).collect();
        Report {
            provenance: Provenance {
                commit: "0123456789abcdef".to_owned(),
                is_modified: false,
                cpu: "Example 9000".to_owned(),
                cores: 2,
            },
            arguments: vec!["routing".to_owned()],
            trace: None,
            seeds: vec![6, 7],
            scenes: vec![SceneSummary {
                name: "shared-prefix".to_owned(),
                source: "generated".to_owned(),
                pods: "8 h100-8b".to_owned(),
                shares_prefixes: true,
                is_mixed: true,
                requests: vec![100, 100],
                saturation_per_second: vec![10.0, 12.0],
                lower_bounds: runs(&bounds_ms),
                single_cache: runs(&bounds_ms),
            }],
            results: contenders
                .iter()
                .map(|(contender, means)| ContenderResult {
                    scene: "shared-prefix".to_owned(),
                    load_percent: 70,
                    replicas: 4,
                    contender: (*contender).to_owned(),
                    runs: runs(means),
                })
                .collect(),
        }
    }

    fn run(mean_ms: f64) -> RunMetrics {
        RunMetrics { ttft_mean_ms: mean_ms, ttft_p90_ms: mean_ms * 2.0, ..RunMetrics::default() }
    }

    #[test]
    fn written_report_is_read_back() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("routing.json");
        let report = report([100.0, 90.5], &[("least-load", [200.0, 180.25])]);
        report.write(&path)?;
        assert_eq!(report, Report::read(&path)?);
        assert!(std::fs::read_to_string(&path)?.lines().count() > 10, "the file has a line per entry");
        Ok(())
    }

    #[test]
    fn report_lacks_contenders_until_the_last_one_ran() {
        let scene = Scene::find("shared-prefix").expect("the benchmark has this scene");
        let all = contenders(&scene.pod_profiles());
        let results: Vec<_> = all.iter().map(|contender| (contender.name.as_str(), [100.0; 2])).collect();
        assert!(report([50.0; 2], &results).has_all_contenders());
        assert!(!report([50.0; 2], &results[1..]).has_all_contenders());
    }
}
