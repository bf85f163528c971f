//! `tables`: writes the tables of the pages in docs from the results in docs/results.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use signalbox_bench_report::index::IndexReport;

use crate::{decide, flow, routing, scale};

/// A part of a page that is written from a file of results.
struct Section {
    page: &'static str,
    name: &'static str,
    /// Returns the text for a file of results.
    text: fn(&Path) -> anyhow::Result<String>,
}

const SECTIONS: [Section; 5] = [
    Section { page: "BENCHMARKS.md", name: "routing", text: routing::doc_tables },
    Section { page: "BENCHMARKS.md", name: "decide", text: decide::doc_tables },
    Section { page: "BENCHMARKS.md", name: "index", text: IndexReport::doc_tables },
    Section { page: "FLOW.md", name: "flow", text: flow::doc_tables },
    Section { page: "AUTOSCALING.md", name: "scale", text: scale::doc_tables },
];

/// Writes all tables.
///
/// # Errors
/// Fails when a file cannot be read or written, or when a page lacks a section.
pub(crate) fn run() -> anyhow::Result<()> {
    for section in &SECTIONS {
        let page = docs().join(section.page);
        let text = section.written(&read(&page)?)?;
        fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
    }
    Ok(())
}

impl Section {
    /// Returns the text of its page with the tables of the results.
    fn written(&self, page: &str) -> anyhow::Result<String> {
        let results = docs().join("results").join(self.name).with_extension("json");
        replace(page, self.name, &(self.text)(&results)?)
    }
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

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_the_tables_of_the_results() -> anyhow::Result<()> {
        for section in &SECTIONS {
            let page = read(&docs().join(section.page))?;
            let written = section.written(&page)?;
            let differing = page.lines().zip(written.lines()).find(|(found, expected)| found != expected);
            assert_eq!(None, differing, "the page differs from the results: run cargo xtask bench tables");
            assert_eq!(page.len(), written.len());
        }
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
