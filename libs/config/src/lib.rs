//! Reads the configuration file of the Go EPP, `EndpointPickerConfig`, and says in words what it will do.
//!
//! [`parse`] finds everything that is wrong with a file in one go, each with its line, its path and how to mend it. A plugin that is not
//! known, not there yet or not planned is an error that says which of them it is; what Signalbox does anyway is accepted and listed.
//! [`describe`] puts the rest into words.

mod anyway;
mod catalogue;
mod envelope;
mod filters;
mod findings;
mod parameters;
mod plugin;
mod plugins;
mod possible;
mod profile;
mod scorers;
mod sessions;
mod surroundings;
mod words;

use signalbox_document::{FileErrors, Problem, read_tree};
use signalbox_schedule::{Policy, Weighted};

use findings::{Findings, listed};
pub use words::describe;

/// What a file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// The name of its one profile.
    pub profile: String,
    /// What decisions go by.
    pub weighted: Weighted,
    /// The types of the parsers that it lists; every API is spoken when there are none.
    pub parsers: Vec<String>,
    /// Where it may not do what was meant.
    pub warnings: Vec<Problem>,
    /// Where Signalbox does anyway what it says, or in its own way.
    pub ignored: Vec<Problem>,
}

impl Configuration {
    /// What decisions go by.
    pub fn policy(&self) -> Policy {
        Policy::Weighted(self.weighted.clone())
    }
}

/// Reads `text`, YAML or JSON.
///
/// # Errors
/// Everything that is wrong with it, in the order of its lines.
pub fn parse(text: &str) -> Result<Configuration, FileErrors> {
    let mut findings = Findings::default();
    let root = read_tree(text, envelope::KIND, &mut findings.problems);
    let read = root.and_then(|root| envelope::configuration(&root, &mut findings));
    let Findings { problems, warnings, ignored, parsers, .. } = findings;
    let (profile, weighted) = problems.or(read)?;
    let (warnings, ignored) = (listed(warnings), listed(ignored));
    Ok(Configuration { profile, weighted, parsers, warnings, ignored })
}
