//! Pure code reads no clock, file or environment variable, and takes randomness only as a parameter.

use std::fs;
use std::path::Path;

use crate::source::rust_files;
use crate::table::{Kind, TABLE};
use crate::workspace::{assert_none, packages, root};

/// Pure cores that are modules of a shell crate.
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
    "Uuid::new_v",
    "Uuid::now_v",
    "println!",
    "eprintln!",
];

#[test]
fn pure_sources_use_nothing_impure() {
    let pure = |name: &str| {
        let row = TABLE.iter().find(|row| row.name == name);
        row.is_some_and(|row| matches!(row.kind, Kind::Pure | Kind::PureWithRng | Kind::Conversion))
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
    assert_none(&problems);
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

/// Returns the part of a file before its tests.
fn product_part(text: &str) -> &str {
    text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(product, _)| product)
}
