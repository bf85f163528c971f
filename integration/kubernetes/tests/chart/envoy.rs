//! The configuration of the chart's proxy is the one that the failure tests test.

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use signalbox_integration::{TestDir, target};
use tokio::process::Command;

use crate::render::{Rendered, items, repository_file, yaml};

/// Returns the proxy's configuration.
pub(crate) fn config(rendered: &Rendered) -> anyhow::Result<String> {
    let config = &rendered.object("ConfigMap", "signalbox-proxy")?["data"]["envoy.yaml"];
    Ok(config.as_str().context("the ConfigMap has no envoy.yaml")?.to_owned())
}

/// Checks that Envoy accepts the configuration.
pub(crate) async fn check_accepted(dir: &TestDir, config: &str) -> anyhow::Result<()> {
    let file = dir.path().join("envoy.yaml");
    std::fs::write(&file, config)?;
    let mut envoy = Command::new(target()?.join("envoy"));
    let output =
        envoy.args(["--mode", "validate", "--log-level", "warning", "--config-path"]).arg(&file).output();
    let output = output.await.context("cannot start Envoy: run `cargo xtask test --only tools`")?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && !log.contains("eprecated"), "Envoy does not accept it: {log}");
    Ok(())
}

/// Checks that the listeners and clusters for the pool `llama3` are those of docs/envoy/retrying.yaml in `mode`, which is `default` or
/// `request-only`.
pub(crate) fn check_same(config: &str, mode: &str) -> anyhow::Result<()> {
    let chart = resources(&config.replace("-llama3", ""))?;
    let documented = resources(&documented(mode)?)?;
    for kind in ["listeners", "clusters"] {
        ensure!(!items(&documented[kind]).is_empty(), "docs/envoy/retrying.yaml has no {kind}");
        for expected in items(&documented[kind]) {
            let name = &expected["name"];
            let found = items(&chart[kind]).iter().find(|found| found["name"] == *name);
            let found = found.with_context(|| format!("the chart has no {name}"))?;
            let (found, expected) = (comparable(found), comparable(expected));
            ensure!(found == expected, "{name} differs:\n{found:#}\n{expected:#}");
        }
    }
    Ok(())
}

/// Returns the documented configuration in one mode: without the lines of the other, and with the placeholders filled in.
fn documented(mode: &str) -> anyhow::Result<String> {
    let other = if mode == "default" { "# request-only" } else { "# default" };
    let text = repository_file("docs/envoy/retrying.yaml")?;
    let lines = text.lines().filter(|line| !line.ends_with(other));
    let text = lines.collect::<Vec<_>>().join("\n");
    let filled =
        [("@GATEWAY_PORT@", "1"), ("@PICKING_PORT@", "2"), ("@REPLICAS@", ""), ("@ACCESS_LOGS@", "")];
    Ok(filled.into_iter().fold(text, |text, (placeholder, value)| text.replace(placeholder, value)))
}

fn resources(config: &str) -> anyhow::Result<Value> {
    let mut documents = yaml(config)?.into_iter();
    Ok(documents.next().context("an empty configuration")?["static_resources"].take())
}

/// Returns a listener or cluster without what depends on where it runs: addresses, and TLS to the replicas.
fn comparable(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(fields) = resource.as_object_mut() {
        for field in ["address", "load_assignment", "type", "cluster_type", "transport_socket"] {
            fields.remove(field);
        }
        if fields.get("name") == Some(&json!("picked")) {
            fields.insert("type".to_owned(), json!("ORIGINAL_DST"));
        }
    }
    resource
}
