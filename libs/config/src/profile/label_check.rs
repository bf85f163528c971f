//! Checks whether any endpoint can pass the label filters of a profile. Labels are checked one by one.

use std::collections::{BTreeMap, BTreeSet};

use signalbox_document::{Located, quoted};
use signalbox_schedule::{Filter, LabelOperator, ROLE_LABEL, Unlabeled};

use crate::diagnostics::Diagnostics;

/// The values of each label that pass all filters applied so far.
#[derive(Debug, Default)]
pub(crate) struct LabelConstraints(BTreeMap<String, AllowedValues>);

/// The values of one label that pass.
#[derive(Debug)]
struct AllowedValues {
    /// Whether endpoints without the label pass.
    allows_absent: bool,
    values: ValueSet,
    /// Names of the filters that constrain the label.
    constrained_by: Vec<String>,
}

#[derive(Debug)]
enum ValueSet {
    Only(BTreeSet<String>),
    AllExcept(BTreeSet<String>),
}

impl Default for AllowedValues {
    fn default() -> Self {
        Self { allows_absent: true, values: ValueSet::AllExcept(BTreeSet::new()), constrained_by: Vec::new() }
    }
}

impl AllowedValues {
    fn is_empty(&self) -> bool {
        !self.allows_absent && matches!(&self.values, ValueSet::Only(values) if values.is_empty())
    }

    fn keep_only(&mut self, values: impl IntoIterator<Item = String>) {
        let wanted: BTreeSet<_> = values.into_iter().collect();
        let remaining = match &self.values {
            ValueSet::Only(allowed) => wanted.intersection(allowed).cloned().collect(),
            ValueSet::AllExcept(excluded) => wanted.difference(excluded).cloned().collect(),
        };
        self.values = ValueSet::Only(remaining);
    }

    fn exclude(&mut self, values: &[String]) {
        match &mut self.values {
            ValueSet::Only(allowed) => allowed.retain(|value| !values.contains(value)),
            ValueSet::AllExcept(excluded) => excluded.extend(values.iter().cloned()),
        }
    }
}

impl LabelConstraints {
    /// Applies the filter `name` and reports it if no value of a label passes any more.
    pub(crate) fn apply(
        &mut self,
        name: &str,
        filter: &Filter,
        at: &Located<'_>,
        diagnostics: &mut Diagnostics,
    ) {
        match filter {
            Filter::Labels(selector) => {
                for requirement in &selector.requirements {
                    self.constrain(name, &requirement.key, at, diagnostics, |allowed| {
                        match &requirement.operator {
                            // Reported where the filter is declared.
                            LabelOperator::In(values) if values.is_empty() => {}
                            LabelOperator::In(values) => {
                                allowed.allows_absent = false;
                                allowed.keep_only(values.iter().cloned());
                            }
                            LabelOperator::NotIn(values) => allowed.exclude(values),
                            LabelOperator::Exists => allowed.allows_absent = false,
                            LabelOperator::DoesNotExist => allowed.keep_only([]),
                        }
                    });
                }
            }
            // Reported where the filter is declared.
            Filter::ByLabel { values, unlabeled: Unlabeled::Fail, .. } if values.is_empty() => {}
            Filter::ByLabel { label, values, unlabeled } => {
                self.constrain(name, label, at, diagnostics, |allowed| {
                    allowed.allows_absent &= *unlabeled == Unlabeled::Pass;
                    allowed.keep_only(values.iter().cloned());
                });
            }
            Filter::Role(role) => self.constrain(name, ROLE_LABEL, at, diagnostics, |allowed| {
                allowed.allows_absent &= role.is_default();
                allowed.keep_only(role.values().iter().map(|value| (*value).to_owned()));
            }),
            Filter::PrefixAffinity(_)
            | Filter::Utilization { .. }
            | Filter::Saturation(_)
            | Filter::Concurrency(_)
            | Filter::Session(_) => {}
        }
    }

    fn constrain(
        &mut self,
        name: &str,
        label: &str,
        at: &Located<'_>,
        diagnostics: &mut Diagnostics,
        narrow: impl FnOnce(&mut AllowedValues),
    ) {
        let allowed = self.0.entry(label.to_owned()).or_default();
        let was_empty = allowed.is_empty();
        narrow(allowed);
        if allowed.is_empty() && !was_empty {
            let together = match allowed.constrained_by.iter().rfind(|other| *other != name) {
                Some(other) => format!(" together with {}", quoted(other)),
                None => String::new(),
            };
            let (name, label) = (quoted(name), quoted(label));
            let message = format!(
                "{name}{together} rejects every endpoint: no value of the label {label} passes; change a filter"
            );
            diagnostics.add_problem(at, message);
        }
        allowed.constrained_by.push(name.to_owned());
    }
}
