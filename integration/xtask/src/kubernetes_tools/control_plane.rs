//! Builds the control plane and Helm 3 from the Go module in `integration/kubernetes/control-plane`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::kubernetes_tools::cache::{Cache, key};
use crate::kubernetes_tools::go::Go;

/// The module, below the root of the workspace.
const MODULE: &str = "integration/kubernetes/control-plane";

/// The package of Helm 3. It shares most of its dependencies with the control plane.
const HELM3: &str = "helm.sh/helm/v3/cmd/helm";

/// Returns the folder with the programs `control-plane` and `helm3`.
pub(crate) fn prepare(cache: &Cache, go: &mut Go<'_>, root: &Path) -> anyhow::Result<PathBuf> {
    let module = root.join(MODULE);
    let read = |name: &str| {
        let file = module.join(name);
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    };
    let sources = [read("go.mod")?, read("go.sum")?, read("main.go")?];
    let go_mod = String::from_utf8_lossy(&sources[0]).into_owned();
    let version =
        required(&go_mod, "k8s.io/kubernetes").context("go.mod does not require k8s.io/kubernetes")?;
    let helm = required(&go_mod, "helm.sh/helm/v3").context("go.mod does not require helm.sh/helm/v3")?;
    let key = format!("{version}-{}", key(&sources.each_ref().map(Vec::as_slice)));
    cache.entry("control-plane", &key, |folder| {
        println!("building the control plane of Kubernetes {version} and helm {helm} from Go modules");
        println!("(once per machine: 8 to 15 minutes on two cores, 3 GB of memory and 5 GB of disk) ...");
        let started = Instant::now();
        // Without it, /version says that this is a development build.
        let stamp = format!("-s -w -X k8s.io/component-base/version.gitVersion={version}");
        go.build(&module, (&folder.join("control-plane"), &stamp, "."))?;
        println!("built the control plane after {} s; building helm ...", started.elapsed().as_secs());
        let stamp = format!("-s -w -X helm.sh/helm/v3/internal/version.version={helm}");
        go.build(&module, (&folder.join("helm3"), &stamp, HELM3))?;
        println!("built both after {} s", started.elapsed().as_secs());
        Ok(())
    })
}

/// Returns the version of a module that a go.mod requires.
fn required<'a>(go_mod: &'a str, module: &str) -> Option<&'a str> {
    let mut lines = go_mod.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next()? == module).then(|| words.next()).flatten())
}

#[cfg(test)]
mod tests {
    use super::required;

    #[test]
    fn required_versions_are_found() {
        let go_mod = "require (\n\tk8s.io/kubernetes v1.37.2\n\tk8s.io/api v0.37.2 // indirect\n)\n";
        assert_eq!(required(go_mod, "k8s.io/kubernetes"), Some("v1.37.2"));
        assert_eq!(required(go_mod, "k8s.io/apiserver"), None);
    }
}
