//! What is found in a file.

use signalbox_document::{FileErrors, Located, Problem, Problems};

/// What is found in a file, by what follows from it.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The file cannot be used.
    pub(crate) problems: Problems,
    /// It can, but it may not do what was meant.
    pub(crate) warnings: Problems,
    /// What Signalbox does whether or not the file says so.
    pub(crate) ignored: Problems,
    /// The types of the parsers that it lists.
    pub(crate) parsers: Vec<String>,
    /// The plugins that it declares: name and type.
    pub(crate) declared: Vec<(String, String)>,
}

impl Findings {
    pub(crate) fn problem(&mut self, at: &Located<'_>, message: impl Into<String>) {
        at.report(&mut self.problems, message);
    }

    pub(crate) fn warn(&mut self, at: &Located<'_>, message: impl Into<String>) {
        at.report(&mut self.warnings, message);
    }

    pub(crate) fn ignore(&mut self, at: &Located<'_>, why: impl Into<String>) {
        at.report(&mut self.ignored, why);
    }
}

/// In the order of their lines.
pub(crate) fn listed(found: Problems) -> Vec<Problem> {
    if found.is_empty() { Vec::new() } else { FileErrors::from(found).problems().to_vec() }
}
