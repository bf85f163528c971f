//! Reads seeds from files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Returns the contents of the files in a folder of the workspace, by file name.
pub(crate) fn files(folder: &str) -> anyhow::Result<Vec<Vec<u8>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .context("cannot find the root of the workspace")?;
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
