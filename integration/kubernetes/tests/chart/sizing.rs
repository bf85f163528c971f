//! The sizes that docs/KUBERNETES.md explains are the chart's defaults.

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::render::{repository_file, yaml};

/// The services by their names in the table.
const SERVICES: [(&str, &str); 4] =
    [("replica", "epp"), ("aggregator", "aggregator"), ("collector", "collector"), ("proxy", "proxy")];

/// Checks the rows `| service | CPU | memory | limit of memory |` and what follows.
pub(crate) fn check() -> anyhow::Result<()> {
    let text = repository_file("docs/KUBERNETES.md")?;
    let documents = yaml(&repository_file("helm/signalbox/values.yaml")?)?;
    let values = documents.first().context("the chart has no values")?;
    let (_, table) = text.split_once("| service | CPU request |").context("the table of sizes is missing")?;
    for (service, component) in SERVICES {
        let begin = format!("| {service} |");
        let row = table.lines().find(|line| line.starts_with(&begin));
        let row = row.with_context(|| format!("the table has no {service}"))?;
        let cells: Vec<_> = row.split('|').skip(2).map(str::trim).take(3).collect();
        let resources = &values[component]["resources"];
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (requests, limits) = (&resources["requests"], &resources["limits"]);
        let defaults = [&requests["cpu"], &requests["memory"], &limits["memory"]].map(text);
        ensure!(cells == defaults, "{service}: the table says {cells:?}, the chart {defaults:?}");
    }
    Ok(())
}
