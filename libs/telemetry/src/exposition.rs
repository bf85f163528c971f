//! Merges pages in the OpenMetrics text format. A family that is on several pages becomes one: a page on which
//! a family is repeated, or interleaved with another, is invalid.

use std::collections::BTreeMap;

/// The last line of a page.
const END: &str = "# EOF";

/// The families of several pages, by name.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    families: BTreeMap<String, Family>,
}

#[derive(Debug, Default)]
struct Family {
    /// The comment lines of the first page that has the family.
    metadata: String,
    samples: String,
}

impl Exposition {
    /// Adds a page. Each of its samples gets the label `label`.
    pub(crate) fn add(&mut self, page: &str, label: Option<(&str, &str)>) {
        let label = label.map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
        let (mut family, mut name, mut is_new) = (None, "", false);
        for line in page.lines().filter(|line| *line != END) {
            if let Some(described) = line.strip_prefix("# ").and_then(|comment| comment.split(' ').nth(1)) {
                if family.is_none() || described != name {
                    name = described;
                    is_new = !self.families.contains_key(name);
                    family = Some(self.families.entry(name.to_owned()).or_default());
                }
                if let Some(Family { metadata, .. }) = family.as_mut().filter(|_| is_new) {
                    metadata.push_str(line);
                    metadata.push('\n');
                }
            } else if let Some(Family { samples, .. }) = &mut family {
                push_sample(samples, line, label.as_deref());
            }
        }
    }

    /// Returns the merged page.
    pub(crate) fn into_text(self) -> String {
        let mut text = String::new();
        for Family { metadata, samples } in self.families.into_values() {
            text.push_str(&metadata);
            text.push_str(&samples);
        }
        text.push_str(END);
        text.push('\n');
        text
    }
}

/// Appends a sample, with `label` as its first label.
fn push_sample(samples: &mut String, line: &str, label: Option<&str>) {
    let name_end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    samples.push_str(name);
    match (label, rest.strip_prefix('{')) {
        (None, _) => samples.push_str(rest),
        (Some(label), None) => samples.extend(["{", label, "}", rest]),
        (Some(label), Some(others)) if others.starts_with('}') => samples.extend(["{", label, others]),
        (Some(label), Some(others)) => samples.extend(["{", label, ",", others]),
    }
    samples.push('\n');
}

/// Returns `value` as it is written between the quotes of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_all_pages_are_merged_and_samples_labelled() {
        let own = "# HELP a First.\n# TYPE a counter\na_total 1\n# EOF\n";
        let pool = "# HELP b Second.\n# TYPE b histogram\nb_sum{x=\"{1 2}\"} 3\nb_bucket{le=\"1.0\"} 4\n\
                    # HELP a First.\n# TYPE a counter\na_total 5\na_total{} 6\n# EOF\n";
        let mut merged = Exposition::default();
        merged.add(own, None);
        merged.add(pool, Some(("pool", "n/\"p\"")));
        merged.add(pool, Some(("pool", "q")));
        let expected = [
            "# HELP a First.\n# TYPE a counter\na_total 1\n",
            "a_total{pool=\"n/\\\"p\\\"\"} 5\na_total{pool=\"n/\\\"p\\\"\"} 6\n",
            "a_total{pool=\"q\"} 5\na_total{pool=\"q\"} 6\n",
            "# HELP b Second.\n# TYPE b histogram\n",
            "b_sum{pool=\"n/\\\"p\\\"\",x=\"{1 2}\"} 3\nb_bucket{pool=\"n/\\\"p\\\"\",le=\"1.0\"} 4\n",
            "b_sum{pool=\"q\",x=\"{1 2}\"} 3\nb_bucket{pool=\"q\",le=\"1.0\"} 4\n# EOF\n",
        ];
        assert_eq!(expected.concat(), merged.into_text());
    }
}
