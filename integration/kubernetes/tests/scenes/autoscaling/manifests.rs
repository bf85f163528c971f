//! The manifests in the documentation.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// The page, below the root of the repository.
const PAGE: &str = "docs/AUTOSCALING.md";

/// Returns the manifest after the comment `<!-- test: NAME -->`.
pub(super) fn manifest(name: &str) -> anyhow::Result<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    let (_, after) = text
        .split_once(&format!("<!-- test: {name} -->\n```yaml\n"))
        .with_context(|| format!("{PAGE} has no manifest {name}"))?;
    let (manifest, _) = after.split_once("\n```").context("the manifest has no end")?;
    Ok(manifest.to_owned())
}
