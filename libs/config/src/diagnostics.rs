//! Problems, warnings and remarks about a configuration file.

use std::collections::BTreeSet;

use signalbox_document::{FileErrors, Located, Problem, Problems};
use signalbox_types::PageSettings;

/// Collects problems, warnings and remarks while a file is read.
#[derive(Debug, Default)]
pub(crate) struct Diagnostics {
    /// Reasons why the file cannot be used.
    pub(crate) problems: Problems,
    /// Settings that may not do what the author intended.
    pub(crate) warnings: Problems,
    /// Settings without effect, because Signalbox always does what they ask for, or does it in its own way.
    pub(crate) ignored: Problems,
    /// Types of the parsers that the file lists.
    pub(crate) parsers: Vec<String>,
    /// Names of the plugins that measure saturation.
    pub(crate) detectors: Vec<String>,
    /// How metrics pages are found and read.
    pub(crate) pages: PageSettings,
    /// Plugins that the file declares: name and type.
    pub(crate) declared: Vec<(String, String)>,
    /// Names of declared plugins that are reported as unusable. A reference to one is not a problem of its own.
    pub(crate) unusable: BTreeSet<String>,
}

impl Diagnostics {
    pub(crate) fn add_problem(&mut self, at: &Located<'_>, message: impl Into<String>) {
        at.report(&mut self.problems, message);
    }

    pub(crate) fn add_warning(&mut self, at: &Located<'_>, message: impl Into<String>) {
        at.report(&mut self.warnings, message);
    }

    pub(crate) fn add_ignored(&mut self, at: &Located<'_>, why: impl Into<String>) {
        at.report(&mut self.ignored, why);
    }
}

/// Returns the entries sorted by line.
pub(crate) fn sorted(found: Problems) -> Vec<Problem> {
    if found.is_empty() { Vec::new() } else { FileErrors::from(found).problems().to_vec() }
}
