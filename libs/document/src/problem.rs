//! The problems of a file and their positions.

use std::fmt;

/// Number of problems that are printed. The rest are only counted.
const MAX_SHOWN: usize = 100;

/// One problem of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Line of the value, counted from 1.
    pub line: usize,
    /// Path of the value, such as `endpoints[2].address`; empty for the root.
    pub path: String,
    /// What is wrong and how to fix it.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, path, message } = self;
        match path.as_str() {
            "" => write!(f, "line {line}: {message}"),
            path => write!(f, "line {line}: {path}: {message}"),
        }
    }
}

/// All problems of a file, at least one, sorted by line.
///
/// `Display` prints one problem per line, without the file name. After 100 problems it prints only how many
/// more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileErrors(Vec<Problem>);

impl FileErrors {
    /// Creates the errors of a file with a single problem.
    pub fn single(line: usize, message: String) -> Self {
        Self(vec![Problem { line, path: String::new(), message }])
    }

    /// Returns the problems, sorted by line.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().take(MAX_SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().saturating_sub(MAX_SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for FileErrors {}

/// Whether fields that a schema does not know are problems.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum UnknownFields {
    #[default]
    Reported,
    Accepted,
}

/// Collects problems while a file is read.
#[derive(Debug, Default)]
pub struct Problems {
    found: Vec<Problem>,
    unknown_fields: UnknownFields,
}

impl Problems {
    /// Creates a collection for documents whose unknown fields are accepted: those that another program
    /// wrote, which can be newer than this one.
    pub fn accepting_unknown_fields() -> Self {
        Self { unknown_fields: UnknownFields::Accepted, ..Self::default() }
    }

    /// Returns whether unknown fields are problems.
    pub(crate) fn reports_unknown_fields(&self) -> bool {
        self.unknown_fields == UnknownFields::Reported
    }

    /// Adds a problem. `message` says what is wrong and how to fix it.
    pub fn add(&mut self, line: usize, path: impl Into<String>, message: impl Into<String>) {
        self.found.push(Problem { line, path: path.into(), message: message.into() });
    }

    /// Returns whether no problem was found.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Returns `value` if no problem was found. `value` must be `None` only when there are problems.
    ///
    /// # Errors
    /// All problems, sorted by line.
    pub fn into_result<T>(self, value: Option<T>) -> Result<T, FileErrors> {
        match value {
            Some(value) if self.is_empty() => Ok(value),
            _ => Err(self.into()),
        }
    }
}

impl From<Problems> for FileErrors {
    fn from(Problems { mut found, .. }: Problems) -> Self {
        found.sort_by_key(|problem| problem.line);
        Self(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_beyond_the_limit_are_only_counted() {
        let mut problems = Problems::default();
        (0..103).for_each(|line| problems.add(103 - line, "", "wrong"));
        let shown = FileErrors::from(problems).to_string();
        assert_eq!(shown.lines().next(), Some("line 1: wrong"));
        assert_eq!(shown.lines().count(), 101);
        assert_eq!(shown.lines().last(), Some("and 3 more"));
    }
}
