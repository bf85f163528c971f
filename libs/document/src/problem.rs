//! What is wrong with a file, and where.

use std::fmt;

/// How many problems are printed; the rest is counted.
const SHOWN: usize = 100;

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The value's path, such as `endpoints[2].address`; empty for the document itself.
    pub path: String,
    /// What is wrong and how to mend it.
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

/// Everything that is wrong with a file: one problem or more, in the order of their lines.
///
/// Prints one problem a line, without the file's name, and after 100 of them only how many more there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileErrors(Vec<Problem>);

impl FileErrors {
    /// A single problem.
    pub fn one(line: usize, message: String) -> Self {
        Self(vec![Problem { line, path: String::new(), message }])
    }

    /// The problems, in the order of their lines.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for FileErrors {}

/// The problems found so far.
#[derive(Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one: `message` says what is wrong and how to mend it.
    pub fn add(&mut self, line: usize, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { line, path: path.into(), message: message.into() });
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `read` where there is no problem, else the problems.
    ///
    /// # Errors
    /// All problems, in the order of their lines. `read` is `None` only where there are some.
    pub fn or<T>(self, read: Option<T>) -> Result<T, FileErrors> {
        match read {
            Some(read) if self.is_empty() => Ok(read),
            _ => Err(self.into()),
        }
    }
}

impl From<Problems> for FileErrors {
    fn from(Problems(mut problems): Problems) -> Self {
        problems.sort_by_key(|problem| problem.line);
        Self(problems)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_problems_are_counted() {
        let mut problems = Problems::default();
        (0..103).for_each(|line| problems.add(103 - line, "", "wrong"));
        let shown = FileErrors::from(problems).to_string();
        assert_eq!(shown.lines().next(), Some("line 1: wrong"));
        assert_eq!(shown.lines().count(), 101);
        assert_eq!(shown.lines().last(), Some("and 3 more"));
    }
}
