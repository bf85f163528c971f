//! The workspace as cargo describes it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A crate of the workspace.
pub(crate) struct Package {
    /// The name without `signalbox-`; the command-line tool is `signalbox`.
    pub(crate) name: String,
    /// The folder that contains its Cargo.toml.
    pub(crate) folder: PathBuf,
    pub(crate) imports: Vec<Import>,
}

/// A dependency that a Cargo.toml declares.
pub(crate) struct Import {
    /// The name; without `signalbox-` for a crate of this workspace.
    pub(crate) name: String,
    pub(crate) from: Origin,
    pub(crate) purpose: Purpose,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Workspace,
    ThirdParty,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Product,
    Tests,
}

/// Returns the root folder of the workspace.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("integration is a folder of the workspace")
}

/// Returns all crates of the workspace. Does not resolve dependencies, so it needs no registry.
pub(crate) fn packages() -> Vec<Package> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root());
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    list(&metadata["packages"]).iter().map(package).collect()
}

fn package(package: &Value) -> Package {
    let manifest = PathBuf::from(text(&package["manifest_path"]));
    Package {
        name: short(text(&package["name"])),
        folder: manifest.parent().expect("a manifest is in a folder").to_owned(),
        imports: list(&package["dependencies"]).iter().map(import).collect(),
    }
}

fn import(dependency: &Value) -> Import {
    Import {
        name: short(text(&dependency["name"])),
        from: if dependency["path"].is_null() { Origin::ThirdParty } else { Origin::Workspace },
        purpose: if dependency["kind"] == "dev" { Purpose::Tests } else { Purpose::Product },
    }
}

fn short(name: &str) -> String {
    name.strip_prefix("signalbox-").unwrap_or(name).to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo metadata has a string here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo metadata has an array here")
}

/// Fails with all problems at once.
pub(crate) fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}
