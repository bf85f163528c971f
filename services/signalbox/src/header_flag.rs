//! Request headers on the command line, as curl takes them.

use std::str::FromStr;

use http::{HeaderName, HeaderValue};

/// A header that a flag adds to requests: `NAME: VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderFlag {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

impl FromStr for HeaderFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once(':')
            .ok_or("write NAME: VALUE, such as 'x-llm-d-inference-objective: critical'")?;
        let name = name.trim().parse().map_err(|_| format!("{name:?} is no valid name of a header"))?;
        let value =
            value.trim().parse().map_err(|_| format!("the value of {name} has invalid characters"))?;
        Ok(Self { name, value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_written_as_for_curl() {
        let parsed: HeaderFlag = "X-Team:  a:b ".parse().unwrap();
        assert_eq!(("x-team", "a:b"), (parsed.name.as_str(), parsed.value.to_str().unwrap()));
        let error = |text: &str| text.parse::<HeaderFlag>().unwrap_err();
        assert!(error("X-Team").contains("NAME: VALUE"));
        assert!(error("a b: c").contains("\"a b\""));
        assert!(error("a: \u{1}").contains("the value of a"));
    }
}
