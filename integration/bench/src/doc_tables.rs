//! `tables`: writes the tables of docs/BENCHMARKS.md from the results in docs/results.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use signalbox_bench_report::index::IndexReport;

use crate::{decide, routing};

/// A part of the page that is written from a file of results.
struct Section {
    name: &'static str,
    /// Returns the text for a file of results.
    text: fn(&Path) -> anyhow::Result<String>,
}

const SECTIONS: [Section; 3] = [
    Section { name: "routing", text: routing::doc_tables },
    Section { name: "decide", text: decide::doc_tables },
    Section { name: "index", text: IndexReport::doc_tables },
];

/// Writes all tables.
///
/// # Errors
/// Fails when a file cannot be read or written, or when the page lacks a section.
pub(crate) fn run() -> anyhow::Result<()> {
    let page = page();
    let text = updated(&read(&page)?)?;
    fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))
}

/// Returns the text of the page with the tables of the results.
fn updated(page: &str) -> anyhow::Result<String> {
    SECTIONS.iter().try_fold(page.to_owned(), |page, section| {
        let results = docs().join("results").join(section.name).with_extension("json");
        replace(&page, section.name, &(section.text)(&results)?)
    })
}

/// Replaces the text between the marks of a section.
fn replace(page: &str, section: &str, text: &str) -> anyhow::Result<String> {
    let begin = format!("<!-- begin {section}: written by `cargo xtask bench tables` -->\n");
    let end = format!("<!-- end {section} -->\n");
    let context = || format!("the page lacks a section between\n{begin}and\n{end}");
    let (before, rest) = page.split_once(&begin).with_context(context)?;
    let (_, after) = rest.split_once(&end).with_context(context)?;
    Ok(format!("{before}{begin}\n{text}\n{end}{after}"))
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn page() -> PathBuf {
    docs().join("BENCHMARKS.md")
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_has_the_tables_of_the_results() -> anyhow::Result<()> {
        let page = read(&page())?;
        let updated = updated(&page)?;
        let differing = page.lines().zip(updated.lines()).find(|(found, expected)| found != expected);
        assert_eq!(None, differing, "the page differs from the results: run cargo xtask bench tables");
        assert_eq!(page.len(), updated.len());
        Ok(())
    }

    #[test]
    fn only_the_text_between_the_marks_is_replaced() -> anyhow::Result<()> {
        let mark = "<!-- begin decide: written by `cargo xtask bench tables` -->\n";
        let page = format!("# Page\n\n{mark}\nold\n\n<!-- end decide -->\n\nend\n");
        let expected = page.replace("old", "| new |");
        assert_eq!(expected, replace(&page, "decide", "| new |\n")?);
        assert!(replace(&page, "index", "| new |\n").is_err());
        Ok(())
    }
}
