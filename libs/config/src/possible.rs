//! Whether any endpoint can pass a profile's filters, as far as the file tells: label by label.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_document::{Located, quoted};
use signalbox_schedule::{Filter, Must, ROLE_LABEL, Unlabelled};

use crate::findings::Findings;

/// What the filters so far leave of each label.
#[derive(Debug, Default)]
pub(crate) struct Labels(BTreeMap<String, Left>);

/// What may still be of one label.
#[derive(Debug)]
struct Left {
    /// It may be missing.
    absent: bool,
    values: Values,
    /// Who narrowed it.
    by: Vec<String>,
}

#[derive(Debug)]
enum Values {
    Only(BTreeSet<String>),
    AllBut(BTreeSet<String>),
}

impl Default for Left {
    fn default() -> Self {
        Self { absent: true, values: Values::AllBut(BTreeSet::new()), by: Vec::new() }
    }
}

impl Left {
    fn is_nothing(&self) -> bool {
        !self.absent && matches!(&self.values, Values::Only(values) if values.is_empty())
    }

    fn only(&mut self, values: impl IntoIterator<Item = String>) {
        let wanted: BTreeSet<_> = values.into_iter().collect();
        let left = match &self.values {
            Values::Only(before) => wanted.intersection(before).cloned().collect(),
            Values::AllBut(refused) => wanted.difference(refused).cloned().collect(),
        };
        self.values = Values::Only(left);
    }

    fn none_of(&mut self, values: &[String]) {
        match &mut self.values {
            Values::Only(before) => before.retain(|value| !values.contains(value)),
            Values::AllBut(refused) => refused.extend(values.iter().cloned()),
        }
    }
}

impl Labels {
    /// Narrows what may be by `filter`, which is called `name`; reports it where it leaves nothing.
    pub(crate) fn require(&mut self, name: &str, filter: &Filter, at: &Located<'_>, findings: &mut Findings) {
        match filter {
            Filter::Labels(selector) => {
                for requirement in &selector.requirements {
                    self.narrow(name, &requirement.key, at, findings, |left| match &requirement.must {
                        // Reported where it is declared.
                        Must::In(values) if values.is_empty() => {}
                        Must::In(values) => {
                            left.absent = false;
                            left.only(values.iter().cloned());
                        }
                        Must::NotIn(values) => left.none_of(values),
                        Must::Exist => left.absent = false,
                        Must::NotExist => left.only([]),
                    });
                }
            }
            // Reported where it is declared.
            Filter::ByLabel { values, unlabelled: Unlabelled::Fail, .. } if values.is_empty() => {}
            Filter::ByLabel { label, values, unlabelled } => {
                self.narrow(name, label, at, findings, |left| {
                    left.absent &= *unlabelled == Unlabelled::Pass;
                    left.only(values.iter().cloned());
                });
            }
            Filter::Role(role) => self.narrow(name, ROLE_LABEL, at, findings, |left| {
                left.absent &= role.is_default();
                left.only(role.values().iter().map(|value| (*value).to_owned()));
            }),
            Filter::PrefixAffinity(_)
            | Filter::Utilization { .. }
            | Filter::Saturation(_)
            | Filter::Concurrency(_)
            | Filter::Session(_) => {}
        }
    }

    fn narrow(
        &mut self,
        name: &str,
        label: &str,
        at: &Located<'_>,
        findings: &mut Findings,
        by: impl FnOnce(&mut Left),
    ) {
        let left = self.0.entry(label.to_owned()).or_default();
        let was_nothing = left.is_nothing();
        by(left);
        if left.is_nothing() && !was_nothing {
            let before = match left.by.iter().rfind(|before| *before != name) {
                Some(before) => format!(" together with {}", quoted(before)),
                None => String::new(),
            };
            let (name, label) = (quoted(name), quoted(label));
            let message = format!(
                "{name} leaves no endpoint for any request{before}: no value of the label {label} passes; change one"
            );
            findings.problem(at, message);
        }
        left.by.push(name.to_owned());
    }
}
