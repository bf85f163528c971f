//! Copies the CRDs of the inference extension from its Go module.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use crate::kubernetes_tools::cache::Cache;
use crate::kubernetes_tools::go::Go;

const MODULE: &str = "sigs.k8s.io/gateway-api-inference-extension";
const VERSION: &str = "v1.6.0";

/// Returns the folder with the YAML files of the CRDs.
pub(crate) fn prepare(cache: &Cache, go: &mut Go<'_>) -> anyhow::Result<PathBuf> {
    cache.entry("inference-extension-crds", VERSION, |folder| {
        println!("downloading the CRDs of {MODULE} {VERSION}");
        let module = format!("{MODULE}@{VERSION}");
        // Outside of a module, so that nothing but this version is looked at.
        let description = go.run(folder, &["mod", "download", "-json", &module])?;
        let source = dir_of(&description).context("`go mod download` named no folder")?;
        let source = Path::new(source).join("config/crd/bases");
        let entries = fs::read_dir(&source).with_context(|| format!("cannot list {}", source.display()))?;
        let mut copied = 0;
        for entry in entries {
            let path = entry?.path();
            if let Some(name) =
                path.file_name().filter(|_| path.extension().is_some_and(|kind| kind == "yaml"))
            {
                fs::write(folder.join(name), fs::read(&path)?)?;
                copied += 1;
            }
        }
        ensure!(copied > 0, "{} has no YAML files", source.display());
        Ok(())
    })
}

/// Returns the field `Dir` of the JSON that `go mod download -json` prints, one field per line.
pub(crate) fn dir_of(description: &str) -> Option<&str> {
    let line = description.lines().find_map(|line| line.trim().strip_prefix("\"Dir\": \""))?;
    line.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::dir_of;

    #[test]
    fn folder_of_a_module_is_found() {
        assert_eq!(dir_of("{\n\t\"Path\": \"a\",\n\t\"Dir\": \"/go/a@v1\",\n}"), Some("/go/a@v1"));
        assert_eq!(dir_of("{}"), None);
    }
}
