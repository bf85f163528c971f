//! Reads the configuration file of the Go EPP, `EndpointPickerConfig`, and describes its effect in plain
//! text.
//!
//! [`parse`] reports all problems of a file at once, each with its line, its path and how to fix it. A plugin
//! type that is unknown, not supported yet or not planned is a problem, and the message says which of the
//! three. A plugin whose function Signalbox always provides is accepted and listed as ignored. [`describe`]
//! prints what the file does. [`find`] reads the configurations inside a manifest or Helm values.

mod describe;
mod diagnostics;
mod embedded;
mod flow_control;
mod other_sections;
mod parameters;
mod plugins;
mod profile;
mod top_level;

use signalbox_document::{FileErrors, Node, Problem, read_tree};
use signalbox_schedule::{Policy, Weighted};
use signalbox_types::PageSettings;

pub use describe::describe;
use diagnostics::{Diagnostics, sorted};
pub use embedded::{Embedded, find};
pub use flow_control::FlowControl;

/// The content of a valid configuration file.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// Name of its only profile.
    pub profile: String,
    /// Filters, scorers and picker of the profile.
    pub weighted: Weighted,
    /// Which requests wait while the pool is full.
    pub flow_control: FlowControl,
    /// How metrics pages are found and read.
    pub pages: PageSettings,
    /// Types of the parsers that the file lists. When empty, every supported API is parsed.
    pub parsers: Vec<String>,
    /// Settings that may not do what the author intended.
    pub warnings: Vec<Problem>,
    /// Settings without effect, because Signalbox always does what they ask for, or does it in its own way.
    pub ignored: Vec<Problem>,
}

impl Configuration {
    /// Returns the policy that the profile defines.
    pub fn policy(&self) -> Policy {
        Policy::Weighted(self.weighted.clone())
    }
}

/// Parses a configuration file, which is YAML or JSON.
///
/// # Errors
/// All problems of the file, sorted by line.
pub fn parse(text: &str) -> Result<Configuration, FileErrors> {
    let mut diagnostics = Diagnostics::default();
    let root = read_tree(text, top_level::KIND, &mut diagnostics.problems);
    finish(root.as_ref(), diagnostics)
}

/// Reads the configuration at `root`, which is `None` if its text is not valid YAML.
fn finish(root: Option<&Node>, mut diagnostics: Diagnostics) -> Result<Configuration, FileErrors> {
    let read = root.and_then(|root| top_level::read(root, &mut diagnostics));
    let Diagnostics { problems, warnings, ignored, parsers, pages, .. } = diagnostics;
    let (profile, weighted, flow_control) = problems.into_result(read)?;
    let (warnings, ignored) = (sorted(warnings), sorted(ignored));
    Ok(Configuration { profile, weighted, flow_control, pages, parsers, warnings, ignored })
}
