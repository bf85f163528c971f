//! The configuration file that pods read is the one in the ConfigMap of the replicas.

use anyhow::{Context, ensure};

use crate::args::flag_values;
use crate::render::{Rendered, items};

/// Returns the key of the ConfigMap `signalbox-epp` that the pods of `component` read their configuration from, if they
/// read one.
pub(crate) fn path(rendered: &Rendered, component: &str) -> anyhow::Result<Option<String>> {
    let args = rendered.args(component)?;
    let [path] = *flag_values(&args, "config-file") else { return Ok(None) };
    let pod = &rendered.pod(component)?["spec"];
    let volume = items(&pod["volumes"]).iter().find(|volume| volume["configMap"]["name"] == "signalbox-epp");
    let volume = volume.context("the ConfigMap is no volume")?;
    let mounts = items(&pod["containers"][0]["volumeMounts"]);
    let mount = mounts.iter().find(|mount| mount["name"] == volume["name"]).context("it is not mounted")?;
    ensure!(mount["readOnly"] == true, "it can be written: {mount}");
    let folder = mount["mountPath"].as_str().context("a mount without a path")?;
    let key = path.strip_prefix(folder).and_then(|file| file.strip_prefix('/'));
    Ok(Some(key.with_context(|| format!("{path} is not in {folder}"))?.to_owned()))
}
