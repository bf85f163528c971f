//! Label selectors: the grammar that Kubernetes has for them in URLs.

use serde_json::{Value, json};
use thiserror::Error;

/// A selector of labels, such as `role=prefill,deployment in (a,b),!spot`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// A selector cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "unable to parse the selector {selector:?} at {rest:?}: expected {expected}; write e.g. a=b, a!=b, a in (b,c), \
     a notin (b,c), a or !a, with commas between"
)]
pub struct SelectorError {
    selector: String,
    rest: String,
    expected: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Equals(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads a selector. An empty one selects everything.
    ///
    /// # Errors
    /// [`SelectorError`].
    pub fn parse(selector: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { rest: selector.trim() };
        let mut requirements = Vec::new();
        let parsed = parser.requirements(&mut requirements);
        parsed.map(|()| Self { requirements }).map_err(|expected| SelectorError {
            selector: selector.to_owned(),
            rest: parser.rest.to_owned(),
            expected,
        })
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// Returns it as a `LabelSelector`; null if it selects everything.
    pub(crate) fn document(&self) -> Value {
        let mut document = Value::Null;
        let mut expressions = Vec::new();
        for Requirement { key, operator } in &self.requirements {
            let expression = |operator: &str| json!({ "key": key, "operator": operator });
            let among = |operator: &str, values: &[String]| json!({ "key": key, "operator": operator, "values": values });
            expressions.push(match operator {
                Operator::Equals(value) => {
                    document["matchLabels"][key] = json!(value);
                    continue;
                }
                Operator::In(values) => among("In", values),
                Operator::NotIn(values) => among("NotIn", values),
                Operator::Exists => expression("Exists"),
                Operator::DoesNotExist => expression("DoesNotExist"),
            });
        }
        if !expressions.is_empty() {
            document["matchExpressions"] = json!(expressions);
        }
        document
    }

    /// Whether labels may be selected of which `key` is `value`, and the others are not known.
    pub fn may_match(&self, key: &str, value: &str) -> bool {
        let of_key = self.requirements.iter().filter(|requirement| requirement.key == key).cloned().collect();
        Self { requirements: of_key }.matches(&[(key, value)].into_iter())
    }

    /// Whether labels are selected. A label that is absent is unlike every value.
    pub fn matches<'a>(&self, labels: &(impl Iterator<Item = (&'a str, &'a str)> + Clone)) -> bool {
        self.requirements.iter().all(|requirement| {
            let found = labels.clone().find(|(key, _)| *key == requirement.key).map(|(_, value)| value);
            let is_one_of =
                |values: &[String]| found.is_some_and(|found| values.iter().any(|value| value == found));
            match &requirement.operator {
                Operator::Equals(value) => found == Some(value),
                Operator::In(values) => is_one_of(values),
                Operator::NotIn(values) => !is_one_of(values),
                Operator::Exists => found.is_some(),
                Operator::DoesNotExist => found.is_none(),
            }
        })
    }
}

/// What is left to read.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn requirements(&mut self, found: &mut Vec<Requirement>) -> Result<(), &'static str> {
        if self.rest.is_empty() {
            return Ok(());
        }
        loop {
            found.push(self.requirement()?);
            if self.rest.is_empty() {
                return Ok(());
            }
            self.expect(",", "a comma or the end")?;
        }
    }

    fn requirement(&mut self) -> Result<Requirement, &'static str> {
        if self.take("!") {
            return Ok(Requirement { key: self.key()?, operator: Operator::DoesNotExist });
        }
        let key = self.key()?;
        let operator = if self.take("!=") {
            Operator::NotIn(vec![self.value()?])
        } else if self.take("==") || self.take("=") {
            Operator::Equals(self.value()?)
        } else if self.rest.is_empty() || self.rest.starts_with(',') {
            Operator::Exists
        } else {
            match self.word() {
                "in" => Operator::In(self.values()?),
                "notin" => Operator::NotIn(self.values()?),
                _ => return Err("=, ==, !=, in, notin, a comma or the end"),
            }
        };
        Ok(Requirement { key, operator })
    }

    fn values(&mut self) -> Result<Vec<String>, &'static str> {
        self.expect("(", "a list of values in parentheses")?;
        let mut values = vec![self.value()?];
        while self.take(",") {
            values.push(self.value()?);
        }
        self.expect(")", "a comma or a closing parenthesis")?;
        Ok(values)
    }

    fn key(&mut self) -> Result<String, &'static str> {
        let word = self.word();
        let (prefix, name) =
            word.rsplit_once('/').map_or((None, word), |(prefix, name)| (Some(prefix), name));
        let is_prefix = |prefix: &str| {
            let is_part = |part: &str| is_name(part, "-") && part == part.to_lowercase();
            prefix.len() <= 253 && prefix.split('.').all(is_part)
        };
        let is_key = is_name(name, "-_.") && prefix.is_none_or(is_prefix);
        if is_key { Ok(word.to_owned()) } else { Err("the name of a label before it") }
    }

    /// Reads a value, which may be empty.
    fn value(&mut self) -> Result<String, &'static str> {
        let word = self.word();
        let is_value = word.is_empty() || is_name(word, "-_.");
        if is_value {
            Ok(word.to_owned())
        } else {
            Err("a label's value before it: up to 63 letters and digits, -, _ and .")
        }
    }

    /// Reads up to the next sign or space, and the spaces after it.
    fn word(&mut self) -> &'a str {
        let ends = |letter: char| letter.is_whitespace() || "=!,()".contains(letter);
        let (word, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest.trim_start();
        word
    }

    fn take(&mut self, sign: &str) -> bool {
        let rest = self.rest.strip_prefix(sign);
        self.rest = rest.map_or(self.rest, str::trim_start);
        rest.is_some()
    }

    fn expect(&mut self, sign: &str, expected: &'static str) -> Result<(), &'static str> {
        if self.take(sign) { Ok(()) } else { Err(expected) }
    }
}

/// Whether this is up to 63 letters and digits with `inner` signs between them.
fn is_name(word: &str, inner: &str) -> bool {
    let is_end = |letter: Option<char>| letter.is_some_and(|letter| letter.is_ascii_alphanumeric());
    word.len() <= 63
        && is_end(word.chars().next())
        && is_end(word.chars().next_back())
        && word.chars().all(|letter| letter.is_ascii_alphanumeric() || inner.contains(letter))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(selector: &str, labels: &[(&str, &str)]) -> bool {
        Selector::parse(selector).unwrap().matches(&labels.iter().copied())
    }

    #[test]
    fn each_operator_selects_as_in_kubernetes() {
        let labels = [("role", "prefill"), ("example.com/kind", "")];
        let matching = [
            "",
            "role=prefill",
            "role==prefill",
            " role = prefill , example.com/kind ",
            "role!=decode",
            "absent!=decode",
            "role in (decode,prefill)",
            "role in(prefill)",
            "role notin (decode)",
            "absent notin (decode)",
            "!absent",
            "example.com/kind=",
            "example.com/kind in (,a)",
        ];
        for selector in matching {
            assert!(matches(selector, &labels), "{selector}");
        }
        let not_matching = [
            "role=decode",
            "role!=prefill",
            "absent",
            "absent=",
            "!role",
            "role in (a, b)",
            "role notin (prefill)",
        ];
        for selector in not_matching {
            assert!(!matches(selector, &labels), "{selector}");
        }
    }

    #[test]
    fn each_operator_has_its_place_in_a_label_selector() {
        let document = |selector: &str| Selector::parse(selector).unwrap().document();
        assert_eq!(Value::Null, document(""));
        assert_eq!(json!({ "matchLabels": { "a": "b", "c": "" } }), document("a=b,c=="));
        let expressions = json!([
            { "key": "a", "operator": "In", "values": ["b", "c"] },
            { "key": "d", "operator": "NotIn", "values": ["e"] },
            { "key": "f", "operator": "NotIn", "values": ["g"] },
            { "key": "h", "operator": "Exists" },
            { "key": "i", "operator": "DoesNotExist" },
        ]);
        let all = document("a in (b,c),d notin (e),f!=g,h,!i,j=k");
        assert_eq!(json!({ "matchLabels": { "j": "k" }, "matchExpressions": expressions }), all);
    }

    #[test]
    fn words_of_operators_are_labels_too() {
        assert!(matches("in", &[("in", "1")]) && matches("notin in (in)", &[("notin", "in")]));
    }

    #[test]
    fn what_is_no_selector_is_refused_with_how_to_write_it() {
        let wrong = [
            ",",
            "a,",
            "a=b,",
            "=b",
            "a=b c",
            "a in",
            "a in ()x",
            "a in (b",
            "a in b",
            "a ~ b",
            "!",
            "!a=b",
            "a b",
            "-a=b",
            "a=-b",
            "a/b/c=d",
            "A.B/c=d",
            "a==b==c",
            "a)(",
            "a in ((b))",
        ];
        for selector in wrong {
            let error = Selector::parse(selector).expect_err(selector).to_string();
            assert!(error.contains(&format!("{selector:?}")) && error.contains("a notin (b,c)"), "{error}");
        }
        assert!(Selector::parse(&format!("a={}", "b".repeat(64))).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(selector in "[ab=!,() inot./-]{0,24}") {
            let _ = Selector::parse(&selector);
        }

        #[test]
        fn a_value_is_in_a_list_or_not(value in "[ab]{1,2}", list in proptest::collection::vec("[ab]{1,2}", 1..4)) {
            let (labels, values) = ([("key", value.as_str())], list.join(","));
            let is_in = matches(&format!("key in ({values})"), &labels);
            prop_assert_eq!(is_in, list.contains(&value));
            prop_assert_eq!(!is_in, matches(&format!("key notin ({values})"), &labels));
        }
    }
}
