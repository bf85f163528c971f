//! Renders the chart.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use serde_json::{Map, Number, Value};
use signalbox_document::{Kind, Node, Problems, Value as Yaml, read_trees};
use signalbox_integration::TestDir;
use signalbox_kubernetes_tests::{Helm, HelmVersion};

/// The namespace of the rendered release. The release is called `signalbox`.
pub(crate) const NAMESPACE: &str = "inference";

/// The folder of the chart.
pub(crate) const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../helm/signalbox");

/// Returns the text of a file of the repository.
pub(crate) fn repository_file(path: &str) -> anyhow::Result<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// Returns the documents of a YAML text, without those that are null.
pub(crate) fn yaml(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut problems = Problems::default();
    let trees = read_trees(text, &mut problems);
    problems.into_result(Some(trees.iter().map(json).collect())).map_err(|errors| anyhow::anyhow!("{errors}"))
}

fn json(node: &Node) -> Value {
    match &node.value {
        Yaml::List(items) => items.iter().map(json).collect(),
        Yaml::Map(entries) => Value::Object(
            entries.iter().map(|entry| (entry.key.clone(), json(&entry.value))).collect::<Map<_, _>>(),
        ),
        Yaml::Invalid => Value::Null,
        Yaml::Scalar { text, style } => match Kind::of(text, *style) {
            Kind::Null => Value::Null,
            Kind::Boolean => Value::Bool(text.eq_ignore_ascii_case("true")),
            Kind::Number => {
                let integer = text.parse::<i64>().ok().map(Number::from);
                let number = integer.or_else(|| Number::from_f64(text.parse().ok()?));
                number.map_or_else(|| Value::String(text.clone()), Value::Number)
            }
            Kind::Text => Value::String(text.clone()),
        },
    }
}

/// The objects that helm renders from the chart.
#[derive(Debug)]
pub(crate) struct Rendered(pub(crate) Vec<Value>);

impl Rendered {
    /// Renders the chart with both versions of helm, which must agree, and lints it.
    pub(crate) async fn new(dir: &TestDir, values: &Value) -> anyhow::Result<Self> {
        let one = Self::by(HelmVersion::V3, dir, values).await?;
        let other = Self::by(HelmVersion::V4, dir, values).await?;
        ensure!(one.without_keys() == other.without_keys(), "Helm 3 and Helm 4 render different objects");
        Ok(other)
    }

    async fn by(version: HelmVersion, dir: &TestDir, values: &Value) -> anyhow::Result<Self> {
        let helm = Helm::new(version, dir.path(), None)?;
        helm.run(&["lint", "--strict", CHART, "--kube-version", "1.37.0"], values).await?;
        template(&helm, values).await.map(Self)
    }

    /// Returns the objects without the keys that each rendering makes, in a fixed order.
    fn without_keys(&self) -> Vec<String> {
        let mut objects = self.0.clone();
        for object in &mut objects {
            match object["kind"].as_str() {
                Some("Secret") => object["data"] = Value::Null,
                Some("APIService") => object["spec"]["caBundle"] = Value::Null,
                _ => {}
            }
        }
        let mut texts: Vec<_> = objects.iter().map(Value::to_string).collect();
        texts.sort();
        texts
    }

    /// Returns the objects of a kind.
    pub(crate) fn kind(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    /// Returns the object of a kind and name.
    pub(crate) fn object(&self, kind: &str, name: &str) -> anyhow::Result<&Value> {
        let found = self.kind(kind).find(|object| object["metadata"]["name"] == name);
        found.with_context(|| format!("there is no {kind} {name}"))
    }

    /// Returns the pod template of a component's Deployment.
    pub(crate) fn pod(&self, component: &str) -> anyhow::Result<&Value> {
        Ok(&self.object("Deployment", &format!("signalbox-{component}"))?["spec"]["template"])
    }

    /// Returns the arguments of a component's container.
    pub(crate) fn args(&self, component: &str) -> anyhow::Result<Vec<String>> {
        let args = self.pod(component)?["spec"]["containers"][0]["args"].as_array().context("no args")?;
        Ok(args.iter().map(|arg| arg.as_str().unwrap_or_default().to_owned()).collect())
    }
}

/// Renders the chart, as release `signalbox`.
pub(crate) async fn template(helm: &Helm, values: &Value) -> anyhow::Result<Vec<Value>> {
    let arguments = ["template", "signalbox", CHART, "--namespace", NAMESPACE, "--kube-version", "1.37.0"];
    yaml(&helm.run(&arguments, values).await?)
}

/// Returns the items of a list, or none if it is absent.
pub(crate) fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}
