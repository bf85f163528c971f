//! Finds the programs and files that `cargo xtask` prepared.

use std::path::PathBuf;

use anyhow::{Context, ensure};
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

/// Returns the folder with the CRDs that the inference extension releases.
///
/// # Errors
/// Fails when it was not prepared.
pub fn released_crds() -> anyhow::Result<PathBuf> {
    // kubectl does not look into a folder behind a link.
    tool("inference-extension-crds")?.canonicalize().context("the link to the CRDs leads nowhere")
}

/// Returns the adapter with which the metrics API is compared.
///
/// # Errors
/// Fails when it was not prepared.
pub fn reference_adapter() -> anyhow::Result<PathBuf> {
    tool("reference-adapter")
}
