//! Reads nodes against a schema: mappings with known fields, lists, text, numbers.

use std::ops::RangeInclusive;

use crate::node::{Entry, Node, Value};
use crate::path::{item_path, member_path};
use crate::problem::Problems;
use crate::quote::quoted;
use crate::scalar::{Kind, Style, parse_number};
use crate::suggestion::closest_match;
use crate::time::{duration_ms, time_ms};

/// A node together with its path in the document.
#[derive(Clone, Debug)]
pub struct Located<'a> {
    /// Path of the node, such as `endpoints[2].address`; empty for the root.
    pub path: String,
    /// The node.
    pub node: &'a Node,
}

impl<'a> Located<'a> {
    /// Returns the root of a document.
    pub fn root(node: &'a Node) -> Self {
        Self { path: String::new(), node }
    }

    /// Reports a problem with this node.
    pub fn report(&self, problems: &mut Problems, message: impl Into<String>) {
        problems.add(self.node.line, self.path.as_str(), message);
    }

    /// Reports that `what` is expected here, and what the file has instead.
    pub fn report_expected(&self, what: &str, problems: &mut Problems) {
        let found = match &self.node.value {
            Value::Scalar { text, style } => Kind::of(text, *style).name(),
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
            Value::Invalid => return,
        };
        self.report(problems, format!("expected {what}, found {found}"));
    }

    /// Returns the text of a scalar as written, quoted or not. `hint` says what to write; it is reported when
    /// the node is not a scalar, or is null.
    pub fn raw_text(&self, hint: &str, problems: &mut Problems) -> Option<&'a str> {
        match &self.node.value {
            Value::Scalar { text, style } if Kind::of(text, *style) != Kind::Null => Some(text),
            _ => {
                self.report_expected(hint, problems);
                None
            }
        }
    }

    /// Returns text. Reports plain scalars that YAML reads as a number or a boolean.
    pub fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.raw_text("text", problems)?;
        let Value::Scalar { style: Style::Plain, .. } = self.node.value else { return Some(text) };
        match Kind::of(text, Style::Plain) {
            Kind::Text => Some(text),
            kind => {
                self.report(problems, format!("{text} is {}, expected text; write \"{text}\"", kind.name()));
                None
            }
        }
    }

    /// Parses `text`, the value of this node, with `read`, and reports a failure.
    pub fn parse<T>(
        &self,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Problems,
    ) -> Option<T> {
        read(text).map_err(|message| self.report(problems, message)).ok()
    }

    /// Returns a time as Kubernetes writes it, in milliseconds since the Unix epoch.
    pub fn time_ms(&self, problems: &mut Problems) -> Option<u64> {
        let form = "a time such as 2026-01-31T12:00:00Z";
        self.parse(self.raw_text(form, problems)?, time_ms, problems)
    }

    /// Returns a duration as Go writes it, such as `1m30s`, in milliseconds.
    pub fn duration_ms(&self, problems: &mut Problems) -> Option<u64> {
        let form = "a duration such as 60s";
        self.parse(self.raw_text(form, problems)?, duration_ms, problems)
    }

    /// Returns a whole number in `range`, which must be exact in an `f64`.
    pub fn integer(&self, range: RangeInclusive<i64>, problems: &mut Problems) -> Option<i64> {
        let number = self.number(problems)?;
        let integer = Some(number).filter(|number| number.fract() == 0.0).map(|number| number as i64);
        let integer = integer.filter(|integer| range.contains(integer));
        if integer.is_none() {
            let (least, most) = (range.start(), range.end());
            self.report(problems, format!("must be a whole number from {least} to {most}"));
        }
        integer
    }

    /// Returns a number, which can be infinite or NaN. Reports quoted numbers and text.
    pub fn number(&self, problems: &mut Problems) -> Option<f64> {
        let parsed = match &self.node.value {
            Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Number => parse_number(text),
            _ => None,
        };
        if parsed.is_none() {
            self.report_expected("a number", problems);
        }
        parsed
    }

    /// Returns a boolean: `true` or `false`.
    pub fn boolean(&self, problems: &mut Problems) -> Option<bool> {
        match &self.node.value {
            Value::Scalar { text, style } if Kind::of(text, *style) == Kind::Boolean => {
                Some(text.eq_ignore_ascii_case("true"))
            }
            _ => {
                self.report_expected("true or false", problems);
                None
            }
        }
    }

    /// Returns whether the node is null: empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        self.node.is_null()
    }

    /// Returns the items of a list.
    pub fn items(&self, problems: &mut Problems) -> Option<Vec<Located<'a>>> {
        let Value::List(items) = &self.node.value else {
            self.report_expected("a list or []", problems);
            return None;
        };
        let located = |(at, node)| Located { path: item_path(&self.path, at), node };
        Some(items.iter().enumerate().map(located).collect())
    }

    /// Returns the members of a mapping with arbitrary keys.
    pub fn members(&self, problems: &mut Problems) -> Option<Vec<(&'a str, Located<'a>)>> {
        let Value::Map(entries) = &self.node.value else {
            self.report_expected("a mapping or {}", problems);
            return None;
        };
        let located = |entry: &'a Entry| {
            (entry.key.as_str(), Located { path: member_path(&self.path, &entry.key), node: &entry.value })
        };
        Some(entries.iter().map(located).collect())
    }

    /// Returns a mapping. Reports fields that are not in `known`, unless `problems` accepts unknown fields.
    pub fn fields(self, known: &[&'static str], problems: &mut Problems) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.report_expected(&format!("a mapping with {}", known.join(", ")), problems);
            return None;
        };
        let is_unknown =
            |entry: &&Entry| problems.reports_unknown_fields() && !known.contains(&entry.key.as_str());
        let unknown: Vec<_> = entries.iter().filter(is_unknown).collect();
        for entry in unknown {
            let hint = match closest_match(&entry.key, known) {
                Some(known) => format!("did you mean {}?", quoted(known)),
                None if known.is_empty() => "no fields are allowed here, remove it".to_owned(),
                None => format!("known fields: {}", known.join(", ")),
            };
            problems.add(entry.line, member_path(&self.path, &entry.key), format!("unknown field; {hint}"));
        }
        Some(Fields { at: self, entries })
    }

    /// Returns a mapping and accepts unknown fields.
    pub fn lenient_fields(self, problems: &mut Problems) -> Option<Fields<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.report_expected("a mapping", problems);
            return None;
        };
        Some(Fields { at: self, entries })
    }
}

/// A mapping whose fields are read by name.
#[derive(Debug)]
pub struct Fields<'a> {
    at: Located<'a>,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    /// Returns the field `name`, if present.
    pub fn optional(&self, name: &str) -> Option<Located<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Located { path: member_path(&self.at.path, name), node: &entry.value })
    }

    /// Returns the field `name`, if present and not null. In Kubernetes, null counts as missing.
    pub fn non_null(&self, name: &str) -> Option<Located<'a>> {
        self.optional(name).filter(|at| !at.is_null())
    }

    /// Returns the field `name` and reports it when missing. `hint` says what to write.
    pub fn required(&self, name: &str, hint: &str, problems: &mut Problems) -> Option<Located<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            let path = member_path(&self.at.path, name);
            problems.add(self.at.node.line, path, format!("missing; write {name}: {hint}"));
        }
        found
    }
}
