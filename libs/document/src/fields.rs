//! Nodes as the schema wants them: mappings with known fields, lists, text.

use crate::problem::Problems;
use crate::quote::{item, member, quoted, similar};
use crate::scalar::{Kind, number};
use crate::tree::{Entry, Node, Style, Value};

/// A node and its path.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// Its path, such as `endpoints[2].address`; empty for the document itself.
    pub path: String,
    /// The node.
    pub node: &'a Node,
}

impl<'a> Located<'a> {
    /// The document itself.
    pub fn root(node: &'a Node) -> Self {
        Self { path: String::new(), node }
    }

    /// Says that something is wrong here.
    pub fn report(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.add(self.node.line, self.path.as_str(), message);
    }

    /// Says that `what` is expected here, and what is found instead.
    pub fn expected(&self, what: &str, problems: &mut Problems) {
        let found = match &self.node.value {
            Value::Scalar { text, style } => Kind::of(text, *style).name(),
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Refused => return,
        };
        self.report(problems, format!("expected {what}, found {found}"));
    }

    /// The scalar as it is written, be it quoted or not. `mend` says what to write.
    pub fn written(&self, mend: &str, problems: &mut Problems) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, style } if Kind::of(text, *style) != Kind::Nothing => Some(text),
            _ => {
                self.expected(mend, problems);
                None
            }
        }
    }

    /// Text that YAML does not take for a number or a boolean.
    pub fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.written("text", problems)?;
        let Value::Scalar { style: Style::Plain, .. } = self.node.value else { return Some(text) };
        match Kind::of(text, Style::Plain) {
            Kind::Text => Some(text),
            kind => {
                self.report(
                    problems,
                    format!("{text} is {}, text is expected; write \"{text}\"", kind.name()),
                );
                None
            }
        }
    }

    /// A number: neither quoted nor written as text. It may be infinite, or none.
    pub fn number(&self, problems: &mut Problems) -> Option<f64> {
        let read = match &self.node.value {
            Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Number => number(text),
            _ => None,
        };
        if read.is_none() {
            self.expected("a number", problems);
        }
        read
    }

    /// `true` or `false`.
    pub fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Boolean => {
                Some(text.eq_ignore_ascii_case("true"))
            }
            _ => {
                self.expected("true or false", problems);
                None
            }
        }
    }

    /// Whether nothing is written here.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.node.value, Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Nothing)
    }

    /// The items of a list.
    pub fn items(&self, problems: &mut Problems) -> Option<Vec<Located<'a>>> {
        let Value::List(items) = &self.node.value else {
            self.expected("a list or []", problems);
            return None;
        };
        let located = |(at, node)| Located { path: item(&self.path, at), node };
        Some(items.iter().enumerate().map(located).collect())
    }

    /// The members of a mapping with free keys.
    pub fn members(&self, problems: &mut Problems) -> Option<Vec<(&'a str, Located<'a>)>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected("a mapping or {}", problems);
            return None;
        };
        let located = |entry: &'a Entry| {
            (entry.key.as_str(), Located { path: member(&self.path, &entry.key), node: &entry.value })
        };
        Some(entries.iter().map(located).collect())
    }

    /// A mapping in which only `known` fields may be; others are reported.
    pub fn fields(self, known: &[&'static str], problems: &mut Problems) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected(&format!("a mapping with {}", known.join(", ")), problems);
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let mend = match similar(&entry.key, known) {
                Some(similar) => format!("did you mean {}?", quoted(similar)),
                None if known.is_empty() => "there are none here; remove it".to_owned(),
                None => format!("known here are: {}", known.join(", ")),
            };
            problems.add(entry.line, member(&self.path, &entry.key), format!("unknown field; {mend}"));
        }
        Some(Fields { at: self, entries })
    }

    /// A mapping in which some fields are looked at and the others are nobody's business.
    pub fn some_fields(self, problems: &mut Problems) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.expected("a mapping", problems);
            return None;
        };
        Some(Fields { at: self, entries })
    }
}

/// A mapping with known fields.
#[derive(Debug)]
pub struct Fields<'a> {
    at: Located<'a>,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// The field called `name`, if it is there.
    pub fn optional(&self, name: &str) -> Option<Located<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Located { path: member(&self.at.path, name), node: &entry.value })
    }

    /// The field called `name`, reported if it is not there. `mend` says what to write.
    pub fn required(&self, name: &str, mend: &str, problems: &mut Problems) -> Option<Located<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            let path = member(&self.at.path, name);
            problems.add(self.at.node.line, path, format!("missing; write {name}: {mend}"));
        }
        found
    }
}
