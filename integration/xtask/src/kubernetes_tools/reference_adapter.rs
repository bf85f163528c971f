//! Builds the adapter with which the metrics API is compared. It is made of modules that KEDA is made of, too, so that most of
//! it is built already.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::kubernetes_tools::cache::{Cache, key};
use crate::kubernetes_tools::go::Go;
use crate::kubernetes_tools::keda;

/// The source, below the root of the workspace.
const SOURCE: &str = "integration/kubernetes/reference-adapter/main.go";

/// Returns the program.
pub(crate) fn prepare(cache: &Cache, go: &mut Go<'_>, root: &Path) -> anyhow::Result<PathBuf> {
    let source = root.join(SOURCE);
    let main = fs::read(&source).with_context(|| format!("cannot read {}", source.display()))?;
    let key = format!("{}-{}", keda::VERSION, key(&[&main]));
    let entry = cache.entry("reference-adapter", &key, |folder| {
        println!(
            "building the reference adapter of the metrics APIs (once per machine: a minute after KEDA) ..."
        );
        let started = Instant::now();
        let source = folder.join("source");
        fs::create_dir(&source)?;
        fs::write(source.join("main.go"), &main)?;
        let keda = keda::download(go, folder)?;
        for file in ["go.mod", "go.sum"] {
            fs::write(source.join(file), fs::read(keda.join(file))?)?;
        }
        go.build(&source, (&folder.join("reference-adapter"), "-s -w", "."))?;
        fs::remove_dir_all(&source).context("cannot remove the source")?;
        println!("built it after {} s", started.elapsed().as_secs());
        Ok(())
    })?;
    Ok(entry.join("reference-adapter"))
}
