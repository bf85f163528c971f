//! Prepares what the Kubernetes tests start: a control plane, KEDA, a reference adapter of the metrics APIs, helm, kubectl and
//! the CRDs of the inference extension.
//!
//! The control plane and KEDA take minutes to build, so all of it is kept in a cache outside of the checkout.
//! `target/kubernetes-tools` links to it; the tests look there.

mod cache;
mod control_plane;
mod crds;
mod go;
mod keda;
mod kubectl;
mod reference_adapter;
mod system;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::tools::set_link;
use crate::workspace::Workspace;

use cache::Cache;
use go::Go;

/// The folder with the links, below the build directory.
const LINKS: &str = "kubernetes-tools";

/// Prepares all tools that are not in the cache yet, links them, and returns the links.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<Vec<PathBuf>> {
    system::check()?;
    let cache = Cache::open()?;
    let mut go = Go::new(&cache);
    let kubectl = kubectl::prepare(&cache)?;
    let control_plane = control_plane::prepare(&cache, &mut go, workspace.root())?;
    let crds = crds::prepare(&cache, &mut go)?;
    let keda = keda::prepare(&cache, &mut go)?;
    let reference_adapter = reference_adapter::prepare(&cache, &mut go, workspace.root())?;
    let links = workspace.target().join(LINKS);
    fs::create_dir_all(&links).with_context(|| format!("cannot create {}", links.display()))?;
    let tools: [(&str, &Path); 7] = [
        ("helm", &kubectl.join("helm")),
        ("kubectl", &kubectl.join("kubectl")),
        ("control-plane", &control_plane.join("control-plane")),
        ("helm3", &control_plane.join("helm3")),
        ("inference-extension-crds", &crds),
        ("keda", &keda),
        ("reference-adapter", &reference_adapter),
    ];
    tools
        .into_iter()
        .map(|(name, tool)| {
            let link = links.join(name);
            set_link(&link, tool)?;
            Ok(link)
        })
        .collect()
}
