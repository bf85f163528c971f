//! Checks for the programs of the system that make network namespaces.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

use crate::tools::run;

/// The programs, and the packages of Debian and Ubuntu that contain them.
const PROGRAMS: [(&str, &str); 5] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
];

/// Checks that all programs are installed. Installs what is missing if this is root on Debian or Ubuntu.
pub(crate) fn check() -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.iter().map(|(_, package)| *package).collect::<Vec<_>>().join(" ");
    if !is_root() || find("apt-get").is_none() {
        let programs = missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", ");
        bail!(
            "the Kubernetes tests need these programs, which are not installed: {programs}\n\
             Install them (Debian, Ubuntu: apt-get install {packages}), or leave the Kubernetes tests out with \
             `cargo xtask test --without kubernetes`."
        );
    }
    println!("installing {packages} with apt-get");
    let install =
        ["apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends", &packages];
    let mut command = Command::new("sh");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-c", &install.join(" ")]);
    run(&mut command, "apt-get cannot install them", &format!("Install these packages: {packages}"))?;
    Ok(())
}

fn missing() -> Vec<(&'static str, &'static str)> {
    PROGRAMS.into_iter().filter(|(program, _)| find(program).is_none()).collect()
}

/// Returns the path of a program. The folders of administrators are looked at too: not every user has them in PATH.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(administrators);
    folders.map(|folder| folder.join(program)).find(|candidate| candidate.is_file())
}

/// Whether this process may install packages: the folder with its status belongs to its user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|own| own.uid() == 0)
}
