//! Writes the chart's README from the comments in its `values.yaml`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;

/// The folder of the chart below the root of the workspace.
const CHART: &str = "helm/signalbox";

/// The beginning of the README.
const INTRODUCTION: &str = "\
# Signalbox chart

<!-- Written by `cargo xtask chart-readme` from the comments in values.yaml. -->

Installs [Signalbox](../../README.md) on Kubernetes, with Helm 3 or 4. [Kubernetes](../../docs/KUBERNETES.md) says how to use it, how to
size it, and what changes for users of the Go EPP.

Build the [image](../../docs/OPERATIONS.md#container-image) and push it to a registry of yours. Then, in the root of the repository:

```sh
helm install signalbox helm/signalbox --namespace inference --create-namespace \\
  --set image.registry=REGISTRY,image.repository=REPOSITORY,image.tag=TAG
```

The notes that it prints say what to do next and how to check it. `helm uninstall signalbox --namespace inference` removes everything.
Unknown values are refused.
";

/// Writes the README of the chart in the workspace at `root`.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn write(root: &Path) -> anyhow::Result<()> {
    let chart = root.join(CHART);
    let path = chart.join("README.md");
    let values = chart.join("values.yaml");
    let values = fs::read_to_string(&values).with_context(|| format!("cannot read {}", values.display()))?;
    fs::write(&path, readme(&values)).with_context(|| format!("cannot write {}", path.display()))
}

/// A value that has no parts.
#[derive(Debug, PartialEq, Eq)]
struct Value {
    /// The keys that lead to it, separated by dots.
    path: String,
    default: String,
    description: String,
}

/// The values below one key, or those that are alone at the top.
#[derive(Debug, Default, PartialEq, Eq)]
struct Section {
    title: String,
    description: String,
    values: Vec<Value>,
}

fn readme(values: &str) -> String {
    let mut text = INTRODUCTION.to_owned();
    for section in sections(values).iter().filter(|section| !section.values.is_empty()) {
        let Section { title, description, values } = section;
        let description = if description.is_empty() { String::new() } else { format!("{description}\n\n") };
        // Writing into a string cannot fail.
        let _ = write!(text, "\n## {title}\n\n{description}| value | default | meaning |\n|---|---|---|\n");
        for Value { path, default, description } in values {
            let _ = writeln!(text, "| `{path}` | `{default}` | {description} |");
        }
    }
    text
}

/// Reads a values file in which each key is on a line of its own, with its comment before it.
fn sections(values: &str) -> Vec<Section> {
    let mut sections = vec![Section { title: "General".to_owned(), ..Section::default() }];
    let mut parents: Vec<(usize, String)> = Vec::new();
    let mut comment = String::new();
    for line in values.lines() {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(words) = text.strip_prefix('#') {
            comment = format!("{comment} {}", words.trim()).trim_start().to_owned();
            continue;
        }
        let description = std::mem::take(&mut comment);
        let Some((key, default)) = text.split_once(':') else { continue };
        parents.retain(|(outer, _)| *outer < indent);
        let keys = parents.iter().map(|(_, parent)| parent.as_str()).chain([key]);
        let path = keys.collect::<Vec<_>>().join(".");
        match (default.trim(), indent) {
            ("", 0) => sections.push(Section { title: key.to_owned(), description, values: Vec::new() }),
            // What is said of a group of values is said where it begins.
            ("", _) => comment = description,
            (default, _) => {
                let section = if indent == 0 { 0 } else { sections.len() - 1 };
                sections[section].values.push(Value { path, default: default.to_owned(), description });
            }
        }
        parents.push((indent, key.to_owned()));
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_path_default_and_comment() {
        let values = "# How.\nmode: a\n\n# Who.\nepp:\n  # How\n  # many.\n  replicas: 2\n  # Where.\n  service:\n    type: x\n    # Which.\n    port: 1\nlast: {}\n";
        let value = |path: &str, default: &str, description: &str| Value {
            path: path.to_owned(),
            default: default.to_owned(),
            description: description.to_owned(),
        };
        let [general, epp] = &sections(values)[..] else { panic!("two sections") };
        assert_eq!(vec![value("mode", "a", "How."), value("last", "{}", "")], general.values);
        assert_eq!(("epp", "Who."), (epp.title.as_str(), epp.description.as_str()));
        let expected = vec![
            value("epp.replicas", "2", "How many."),
            value("epp.service.type", "x", "Where."),
            value("epp.service.port", "1", "Which."),
        ];
        assert_eq!(expected, epp.values);
    }

    #[test]
    fn readme_of_the_chart_is_current() {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(CHART);
        let read = |name: &str| fs::read_to_string(chart.join(name)).unwrap();
        assert!(readme(&read("values.yaml")) == read("README.md"), "run `cargo xtask chart-readme`");
    }
}
