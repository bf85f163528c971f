//! Files to begin with.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// What is in the files of a folder of the workspace, in the order of their names.
pub(crate) fn files(folder: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).context("the workspace has a root")?;
    let folder = root.join(folder);
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    ensure!(!paths.is_empty(), "there are no seeds in {}", folder.display());
    paths
        .iter()
        .map(|path| fs::read(path).with_context(|| format!("cannot read {}", path.display())))
        .collect()
}
