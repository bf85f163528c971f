//! Reads the `OTEL_*` variables and collects all problems with them.

use std::fmt::Display;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Reads environment variables and collects all problems with them.
pub(super) struct Variables<F> {
    lookup: F,
    pub(super) problems: Vec<String>,
}

impl<F: Fn(&str) -> Option<String>> Variables<F> {
    pub(super) fn new(lookup: F) -> Self {
        Self { lookup, problems: Vec::new() }
    }

    /// Returns the name and value of the first of `names` that is set. An empty value counts as unset, as
    /// OpenTelemetry defines it.
    pub(super) fn text(&self, names: &[&'static str]) -> Option<(&'static str, String)> {
        names.iter().find_map(|name| {
            let value = (self.lookup)(name)?;
            let value = value.trim();
            (!value.is_empty()).then(|| (*name, value.to_owned()))
        })
    }

    /// Returns the first of `names` that is set as a number, described by `what` in errors.
    pub(super) fn number<T: FromStr>(&mut self, names: &[&'static str], what: &str) -> Option<T> {
        let (name, value) = self.text(names)?;
        let number = value.parse().ok();
        if number.is_none() {
            self.add_problem(name, &value, format!("expected {what}"));
        }
        number
    }

    /// Returns the first of `names` that is set as comma-separated `KEY=VALUE` pairs, keys and values
    /// percent-decoded.
    pub(super) fn pairs(&mut self, names: &[&'static str]) -> Vec<(String, String)> {
        let Some((name, list)) = self.text(names) else { return Vec::new() };
        let mut pairs = Vec::new();
        for pair in list.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let decoded = pair.split_once('=').and_then(|(key, value)| {
                let key = decode(key.trim()).filter(|key| !key.is_empty())?;
                Some((key, decode(value.trim())?))
            });
            match decoded {
                Some(pair) => pairs.push(pair),
                // Headers may contain secrets, so the value is not shown.
                None => self.problems.push(format!("{name} is invalid: expected a list of KEY=VALUE")),
            }
        }
        pairs
    }

    /// Adds the problem that `value` of `name` is invalid, with advice on what to do.
    pub(super) fn add_problem(&mut self, name: &str, value: &str, advice: impl Display) {
        self.problems.push(format!("{name} is \"{value}\": {advice}"));
    }
}

/// Decodes percent-encoded UTF-8 text; returns `None` if it is invalid.
fn decode(text: &str) -> Option<String> {
    let is_escape = |after_percent: &str| {
        let digits = after_percent.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    // The decoder leaves what is no escape as it is.
    if !text.split('%').skip(1).all(is_escape) {
        return None;
    }
    Some(percent_decode_str(text).decode_utf8().ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_percent_decoded() {
        let mut variables = Variables::new(|_: &str| Some("a=b%20c, d = e=f,".to_owned()));
        let expected = [("a", "b c"), ("d", "e=f")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(expected.to_vec(), variables.pairs(&["HEADERS"]));
        assert!(variables.problems.is_empty());
    }

    #[test]
    fn problems_are_collected_without_secrets() {
        let mut variables = Variables::new(|_: &str| Some("secret".to_owned()));
        assert!(variables.pairs(&["HEADERS"]).is_empty());
        assert_eq!(None, variables.number::<u64>(&["DELAY"], "a number"));
        assert_eq!(2, variables.problems.len());
        assert!(!variables.problems[0].contains("secret"));
        for bad in ["%", "%4", "%zz", "%ff"] {
            assert_eq!(None, decode(bad), "{bad}");
        }
    }
}
