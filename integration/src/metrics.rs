//! A page of metrics, read as little as tests need.

/// A page in Prometheus text format.
#[derive(Clone, Debug)]
pub struct Page {
    text: String,
}

impl Page {
    pub(crate) fn new(text: String) -> Self {
        Self { text }
    }

    /// The sum of a family's samples over all labels; `None` when it has none.
    pub fn sum(&self, family: &str) -> Option<f64> {
        let samples = self.text.lines().filter_map(|line| {
            let rest = line.strip_prefix(family)?;
            if !rest.starts_with([' ', '{']) {
                return None;
            }
            rest.rsplit_once(' ')?.1.parse::<f64>().ok()
        });
        samples.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn samples_of_one_family_are_added() {
        let page = Page::new("# TYPE a gauge\na{x=\"1 2\"} 1.5\na 2\na_b 7\nab 9\n# EOF\n".to_owned());
        assert_eq!(page.sum("a"), Some(3.5));
        assert_eq!(page.sum("c"), None);
    }
}
