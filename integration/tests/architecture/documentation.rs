//! Documentation refers to what exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::source::rust_files;
use crate::workspace::{assert_none, root};

/// Returns the README, CONTRIBUTING and every page below `docs/`.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("docs can be listed") {
            let path = entry.expect("docs can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn relative_links_lead_to_files_and_headings() {
    let mut problems = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for target in links(&text) {
            checked += 1;
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path =
                if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let shown = page.strip_prefix(root()).unwrap_or(&page).display();
            if !path.exists() {
                problems.push(format!("{shown}: {target} does not exist"));
            } else if !heading.is_empty() && !headings(&read(&path)).contains(heading) {
                problems.push(format!("{shown}: {target} has no such heading"));
            }
        }
    }
    assert!(checked > 0, "no links were found");
    assert_none(&problems);
}

/// Returns the targets of Markdown links that are not URLs.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .filter(|target| !target.contains("://"))
}

/// Returns the anchors of a page's headings, as GitHub derives them.
fn headings(text: &str) -> BTreeSet<String> {
    let anchor = |heading: &str| {
        let kept = heading.trim().to_lowercase().replace(' ', "-");
        kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_')).collect()
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn metrics_in_the_documentation_are_exported() {
    let sources: Vec<(&str, String)> =
        ["aggregator", "collector", "epp"].map(|service| (service, sources_of(service))).to_vec();
    let mut problems = Vec::new();
    let mut checked = 0;
    for page in pages() {
        let text = read(&page);
        for (service, source) in &sources {
            for name in metric_names(&text, &format!("signalbox_{service}_")) {
                checked += 1;
                let registered = name.strip_suffix("_total").unwrap_or(name);
                if !source.contains(&format!("\"{registered}\"")) {
                    let shown = page.strip_prefix(root()).unwrap_or(&page).display();
                    problems.push(format!("{shown}: signalbox_{service}_{name} is not exported"));
                }
            }
        }
    }
    assert!(checked > 0, "no metrics were found");
    assert_none(&problems);
}

fn sources_of(service: &str) -> String {
    let own = rust_files(&root().join("services").join(service).join("src"));
    let telemetry = rust_files(&root().join("libs/telemetry/src"));
    own.iter().chain(&telemetry).map(|file| read(file)).collect()
}

/// Returns the names in `text` that begin with `prefix`, without it. A prefix alone (`signalbox_epp_*`) is no name.
fn metric_names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let ends = text.match_indices(prefix).map(|(at, found)| &text[at + found.len()..]);
    ends.map(|rest| rest.split_once(|letter| !is_part(letter)).map_or(rest, |(name, _)| name))
        .filter(|name| !name.is_empty())
        .collect()
}
