//! Finds the programs and files that `cargo xtask` prepared.

use std::path::PathBuf;

use anyhow::ensure;
use signalbox_integration::target;

/// The folder with links to them, below the build directory.
const LINKS: &str = "kubernetes-tools";

/// Returns the path of a program or folder.
///
/// # Errors
/// Fails when it was not prepared.
pub(crate) fn tool(name: &str) -> anyhow::Result<PathBuf> {
    let path = target()?.join(LINKS).join(name);
    ensure!(
        path.exists(),
        "{} does not exist: run `cargo xtask test --only kubernetes-tools`, which prepares it",
        path.display()
    );
    Ok(path)
}
