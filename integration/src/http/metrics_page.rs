//! Reads samples from a metrics page.

use std::collections::BTreeMap;

use anyhow::Context;

/// A metrics page in Prometheus text format.
#[derive(Clone, Debug)]
pub struct MetricsPage {
    text: String,
}

impl MetricsPage {
    /// Returns the page with this text.
    pub fn new(text: String) -> Self {
        Self { text }
    }

    /// Returns the sum of a family's samples over all labels; `None` when there are no samples.
    pub fn sum(&self, family: &str) -> Option<f64> {
        self.samples(family).fold(None, |sum, (_, value)| Some(sum.unwrap_or(0.0) + value))
    }

    /// Like [`MetricsPage::sum`], for a family that always has samples.
    ///
    /// # Errors
    /// Fails when there are no samples: a missing metric says nothing, least of all that its value is 0.
    pub fn value(&self, family: &str) -> anyhow::Result<f64> {
        self.sum(family).with_context(|| format!("the metrics page has no {family}"))
    }

    /// Returns a family's samples by the value of one label.
    pub fn by_label(&self, family: &str, label: &str) -> BTreeMap<String, f64> {
        let begins = format!("{label}=\"");
        let samples = self.samples(family).filter_map(|(labels, value)| {
            let (_, rest) = labels.split_once(begins.as_str())?;
            Some((rest.split_once('"')?.0.to_owned(), value))
        });
        samples.collect()
    }

    /// Returns the labels (in braces, or empty) and the value of each sample of a family.
    fn samples(&self, family: &str) -> impl Iterator<Item = (&str, f64)> {
        self.text.lines().filter_map(move |line| {
            let rest = line.strip_prefix(family).filter(|rest| rest.starts_with([' ', '{']))?;
            let (labels, value) = rest.rsplit_once(' ')?;
            Some((labels, value.parse().ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::MetricsPage;

    #[test]
    fn samples_of_one_family_are_added() {
        let page = MetricsPage::new("# TYPE a gauge\na{x=\"1 2\"} 1.5\na 2\na_b 7\nab 9\n# EOF\n".to_owned());
        assert_eq!(page.sum("a"), Some(3.5));
        assert_eq!(page.value("a").unwrap(), 3.5);
        assert_eq!(page.sum("c"), None);
        assert_eq!(page.value("c").unwrap_err().to_string(), "the metrics page has no c");
        assert_eq!(page.by_label("a", "x"), [("1 2".to_owned(), 1.5)].into_iter().collect());
    }
}
