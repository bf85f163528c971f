//! Pure code reads no clock, no file, no environment, and rolls no dice of its own.

use std::fs;
use std::path::{Path, PathBuf};

use crate::table::{Kind, TABLE};
use crate::workspace::{packages, root};

/// A core that is a module of a shell, not a crate.
const PURE_FOLDERS: &[&str] = &["services/modelsim/src/engine"];

const IMPURE: &[&str] = &[
    "SystemTime::now",
    "Instant::now",
    "thread::sleep",
    "thread::spawn",
    "std::env",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::process",
    "rand::rng()",
    "thread_rng",
    "from_os_rng",
    "println!",
    "eprintln!",
];

#[test]
fn pure_sources_use_nothing_impure() {
    let pure = |name: &str| {
        let row = TABLE.iter().find(|row| row.name == name);
        row.is_some_and(|row| matches!(row.kind, Kind::Pure | Kind::PureWithDice | Kind::Conversion))
    };
    let crates = packages().into_iter().filter(|package| pure(&package.name));
    let folders = crates.map(|package| package.folder.join("src"));
    let folders = folders.chain(PURE_FOLDERS.iter().map(|folder| root().join(folder)));
    let mut problems = Vec::new();
    let mut files = 0;
    for file in folders.flat_map(|folder| rust_files(&folder)) {
        problems.extend(impurities(&file));
        files += 1;
    }
    assert!(files > 0, "no pure sources were found");
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

fn impurities(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a source file can be read");
    let lines = product_part(&text).lines().enumerate();
    let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
    let found = code.filter_map(|(number, line)| {
        let what = IMPURE.iter().find(|what| line.contains(**what))?;
        let shown = file.strip_prefix(root()).unwrap_or(file).display();
        Some(format!("{shown}:{}: {what} in pure code: take it as a parameter", number + 1))
    });
    found.collect()
}

/// What comes before the tests at the end of a file.
fn product_part(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(product, _)| product)
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
