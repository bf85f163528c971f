//! Builds KEDA's operator and metrics adapter from KEDA's Go module, with few of its scalers: all of them need clients of
//! every cloud, which take half an hour to build.

mod cut;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::kubernetes_tools::cache::{Cache, key};
use crate::kubernetes_tools::crds::dir_of;
use crate::kubernetes_tools::go::Go;
use crate::tools::run;

const MODULE: &str = "github.com/kedacore/keda/v2";
pub(crate) const VERSION: &str = "v2.21.0";

/// The programs, with their package and the path that KEDA's manifests run.
const PROGRAMS: [(&str, &str); 2] = [("keda", "./cmd/operator"), ("keda-adapter", "./cmd/adapter")];

/// Returns the folder with the programs `keda` and `keda-adapter`, and with KEDA's manifests in `config`.
pub(crate) fn prepare(cache: &Cache, go: &mut Go<'_>) -> anyhow::Result<PathBuf> {
    // What is cut decides what is built.
    let key = format!("{VERSION}-{}", key(&[include_bytes!("keda/cut.rs")]));
    cache.entry("keda", &key, |folder| {
        println!("building KEDA {VERSION} from its Go module, with few of its scalers");
        println!("(once per machine: 5 to 10 minutes on two cores, 2 GB of memory) ...");
        let started = Instant::now();
        let source = folder.join("source");
        copy(&download(go, folder)?, &source)?;
        cut::cut(&source)?;
        let stamp = format!("-s -w -X {MODULE}/version.Version={}", VERSION.trim_start_matches('v'));
        for (program, package) in PROGRAMS {
            go.build(&source, (&folder.join(program), &stamp, package))?;
        }
        fs::rename(source.join("config"), folder.join("config"))?;
        fs::remove_dir_all(&source).context("cannot remove the source")?;
        println!("built KEDA after {} s", started.elapsed().as_secs());
        Ok(())
    })
}

/// Downloads the module, and returns its folder in the module cache. `folder` must not be part of another module.
pub(crate) fn download(go: &mut Go<'_>, folder: &Path) -> anyhow::Result<PathBuf> {
    let description = go.run(folder, &["mod", "download", "-json", &format!("{MODULE}@{VERSION}")])?;
    Ok(dir_of(&description).context("`go mod download` named no folder")?.into())
}

/// Copies a module out of the module cache, where nothing can be changed.
fn copy(module: &Path, source: &Path) -> anyhow::Result<()> {
    let mut command = Command::new("cp");
    command.args(["-r", "--no-preserve=mode"]).arg(module).arg(source);
    run(&mut command, "cannot copy the module of KEDA", "")?;
    ensure!(source.join("go.mod").is_file(), "{} has no go.mod", source.display());
    Ok(())
}
