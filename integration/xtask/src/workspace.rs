//! Finds the sources and the build directory, and runs cargo.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

/// The workspace that this binary was built from.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    cargo: OsString,
}

impl Workspace {
    /// Finds the workspace from the environment of `cargo run` and from the path of this binary,
    /// `<target>/<profile>/xtask`.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        let manifest = std::env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
        let root = Path::new(&manifest).ancestors().nth(2).context("xtask is not in integration/xtask")?;
        let binary = std::env::current_exe().context("cannot find the path of the running binary")?;
        let target = binary.ancestors().nth(2).context("xtask was not built by cargo")?;
        Ok(Self {
            root: root.to_owned(),
            target: target.to_owned(),
            cargo: std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        })
    }

    /// Returns the root of the sources.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the build directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Returns a `cargo` command with these arguments, in the root of the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.cargo);
        command.args(arguments).current_dir(&self.root);
        command
    }
}
