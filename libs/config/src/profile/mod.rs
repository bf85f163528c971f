//! Reads the scheduling profile: which plugins act, in which order and with which weights.

mod label_check;

use std::collections::HashSet;

use signalbox_document::{Fields, Located, quoted};
use signalbox_schedule::{
    Filter, FilterStep, LeastTime, Picker, Scorer, ScorerStep, SessionAffinity, Weighted,
};

use crate::diagnostics::Diagnostics;
use crate::plugins::{Component, DeclaredPlugin, catalog};
use label_check::LabelConstraints;

/// Name of the implicit profile of a file without profiles.
const DEFAULT_NAME: &str = "default";
/// Weight of a scorer for which the profile gives none.
const DEFAULT_WEIGHT: f64 = 1.0;

/// A plugin that the profile references.
struct ProfileEntry<'p, 'a> {
    at: Located<'a>,
    weight: Option<Located<'a>>,
    declared: &'p DeclaredPlugin<'a>,
}

/// Returns the name of the profile and the policy that it defines. Without profiles, all declared filters,
/// scorers and pickers form one profile in the order of the file.
pub(crate) fn read(
    fields: &Fields<'_>,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> Option<(String, Weighted)> {
    let list = fields.optional("schedulingProfiles").filter(|at| !at.is_null());
    let profiles = match &list {
        Some(list) => list.items(&mut diagnostics.problems)?,
        None => Vec::new(),
    };
    let mut profiles = profiles.into_iter();
    let Some(profile) = profiles.next() else {
        let all = plugins.iter().filter(|declared| declared.decides());
        let entry = |declared| ProfileEntry { at: DeclaredPlugin::at(declared), weight: None, declared };
        let at = fields.optional("plugins")?;
        return Some((DEFAULT_NAME.to_owned(), build(&at, all.map(entry).collect(), plugins, diagnostics)));
    };
    if let Some(second) = profiles.next() {
        let message =
            "a second profile needs prefill/decode disaggregation, which is not supported yet; keep one";
        diagnostics.add_problem(&second, message);
    }
    let at = profile.clone();
    let profile = profile.fields(&["name", "plugins"], &mut diagnostics.problems)?;
    let name = profile.required("name", "NAME", &mut diagnostics.problems);
    let name = name.and_then(|at| at.text(&mut diagnostics.problems));
    let list = profile.optional("plugins").filter(|at| !at.is_null());
    let items = list.and_then(|at| at.items(&mut diagnostics.problems)).unwrap_or_default();
    let mut entries = Vec::new();
    for item in items {
        entries.extend(read_entry(item, plugins, diagnostics));
    }
    warn_unused(&entries, plugins, diagnostics);
    let weighted = build(&at, entries, plugins, diagnostics);
    Some((name?.to_owned(), weighted))
}

impl<'a> DeclaredPlugin<'a> {
    fn at(&self) -> Located<'a> {
        self.plugin.at.clone()
    }

    fn decides(&self) -> bool {
        matches!(self.component, Component::Filter(_) | Component::Scorer(_) | Component::Picker(_))
    }
}

fn read_entry<'p, 'a>(
    item: Located<'a>,
    plugins: &'p [DeclaredPlugin<'a>],
    diagnostics: &mut Diagnostics,
) -> Option<ProfileEntry<'p, 'a>> {
    let at = item.clone();
    let fields = item.fields(&["pluginRef", "weight"], &mut diagnostics.problems)?;
    let reference = fields.required("pluginRef", "NAME", &mut diagnostics.problems)?;
    let name = reference.text(&mut diagnostics.problems)?;
    if diagnostics.unusable.contains(name) {
        return None;
    }
    let weight = fields.optional("weight").filter(|at| !at.is_null());
    match plugins.iter().find(|declared| declared.plugin.name == name) {
        Some(declared) => Some(ProfileEntry { at, weight, declared }),
        None => {
            diagnostics.add_problem(
                &reference,
                format!("no plugin is named {}; {}", quoted(name), hint(name, plugins)),
            );
            None
        }
    }
}

/// Returns how to fix a reference to the undeclared plugin `name`.
fn hint(name: &str, plugins: &[DeclaredPlugin<'_>]) -> String {
    if let Some(why) = catalog::unusable(name) {
        return format!("the plugin type {why}");
    }
    if catalog::support(name).is_some() {
        return format!("declare it in plugins: - type: {name}");
    }
    let distance = |known: &&str| distance(name, known);
    let names = plugins.iter().map(|declared| declared.plugin.name);
    match names.min_by_key(distance) {
        Some(closest) => format!("the closest name is {}", quoted(closest)),
        None => "declare it in plugins".to_owned(),
    }
}

/// Returns the edit distance between the first 64 characters of two names, which bounds its cost.
fn distance(one: &str, other: &str) -> usize {
    let prefix = |name: &str| name.chars().take(64).collect::<String>();
    strsim::damerau_levenshtein(&prefix(one), &prefix(other))
}

fn warn_unused(
    entries: &[ProfileEntry<'_, '_>],
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) {
    let used: HashSet<_> = entries.iter().map(|entry| entry.declared.plugin.name).collect();
    for declared in plugins.iter().filter(|declared| declared.decides()) {
        // A declared picker is used even if the profile does not reference it, unless the profile has another.
        let is_picker = matches!(declared.component, Component::Picker(_));
        let is_detector = diagnostics.detectors.iter().any(|name| name == declared.plugin.name);
        if !used.contains(declared.plugin.name) && !is_picker && !is_detector {
            let message =
                format!("{} is not used: the profile does not reference it", declared.plugin.display_name());
            diagnostics.add_warning(&declared.plugin.at, message);
        }
    }
}

/// Builds the policy from the entries of the profile at `profile`.
fn build(
    profile: &Located<'_>,
    entries: Vec<ProfileEntry<'_, '_>>,
    plugins: &[DeclaredPlugin<'_>],
    diagnostics: &mut Diagnostics,
) -> Weighted {
    let mut weighted = Weighted { cost_settings: LeastTime::default(), ..Weighted::default() };
    let mut picker: Option<(&str, Picker)> = None;
    let mut labels = LabelConstraints::default();
    let mut seen = HashSet::new();
    for ProfileEntry { at, weight, declared } in entries {
        let name = declared.plugin.name;
        if !seen.insert(name) {
            diagnostics.add_problem(&at, format!("the profile references {} twice; keep one", quoted(name)));
        }
        if !matches!(declared.component, Component::Scorer(_))
            && let Some(weight) = &weight
        {
            let message =
                format!("{} is not a scorer, and only scorers have weights; remove it", quoted(name));
            diagnostics.add_problem(weight, message);
        }
        match &declared.component {
            Component::Filter(filter) => {
                labels.apply(name, filter, &at, diagnostics);
                weighted.filters.push(FilterStep { name: name.to_owned(), filter: filter.clone() });
            }
            Component::Scorer(scorer) => {
                let weight = self::weight(weight.as_ref(), diagnostics);
                weighted.scorers.push(ScorerStep { name: name.to_owned(), scorer: scorer.clone(), weight });
            }
            Component::Picker(other) => match picker {
                Some((first, _)) => {
                    let message =
                        format!("{} is a second picker after {}; keep one", quoted(name), quoted(first));
                    diagnostics.add_problem(&at, message);
                }
                None => picker = Some((name, *other)),
            },
            Component::Parser | Component::Flow(_) | Component::Other => {
                let message = format!(
                    "{} is not a filter, scorer or picker: it has no effect in a profile",
                    quoted(name)
                );
                diagnostics.add_warning(&at, message);
            }
        }
    }
    weighted.picker = match picker {
        Some((_, picker)) => picker,
        None => default_picker(plugins, diagnostics),
    };
    check_session_header(profile, &weighted, diagnostics);
    let has_weight = weighted.scorers.iter().any(|step| step.weight > 0.0);
    if !has_weight && weighted.picker != Picker::Random {
        let message =
            "no scorer has a weight above 0: the picker chooses at random from what the filters keep";
        diagnostics.add_warning(profile, message);
    }
    weighted
}

/// Reports session tokens in two headers: a response returns the token in one header only.
fn check_session_header(profile: &Located<'_>, weighted: &Weighted, diagnostics: &mut Diagnostics) {
    let by_filter = weighted.filters.iter().filter_map(|step| match &step.filter {
        Filter::Session(SessionAffinity::Token { header }) => Some(header),
        _ => None,
    });
    let by_scorer = weighted.scorers.iter().filter_map(|step| match &step.scorer {
        Scorer::Session(SessionAffinity::Token { header }) => Some(header),
        _ => None,
    });
    let mut headers = by_filter.chain(by_scorer);
    let Some(first) = headers.next() else { return };
    if let Some(second) = headers.find(|header| *header != first) {
        let (first, second) = (quoted(first), quoted(second));
        let message = format!("session tokens are returned in {first} and in {second}; use one header");
        diagnostics.add_problem(profile, message);
    }
}

/// Returns the picker of a profile that references none: the declared one, or the default.
fn default_picker(plugins: &[DeclaredPlugin<'_>], diagnostics: &mut Diagnostics) -> Picker {
    let mut declared = plugins.iter().filter_map(|declared| match declared.component {
        Component::Picker(picker) => Some((declared, picker)),
        _ => None,
    });
    let Some((_, picker)) = declared.next() else { return Picker::default() };
    if let Some((second, _)) = declared.next() {
        let message = "several pickers are declared, and the profile references none; reference one";
        diagnostics.add_problem(&second.plugin.at, message);
    }
    picker
}

fn weight(at: Option<&Located<'_>>, diagnostics: &mut Diagnostics) -> f64 {
    let Some(at) = at else { return DEFAULT_WEIGHT };
    let Some(weight) = at.number(&mut diagnostics.problems) else { return DEFAULT_WEIGHT };
    if !weight.is_finite() || weight < 0.0 {
        diagnostics.add_problem(at, format!("invalid weight {weight}; write a number above 0"));
    } else if weight == 0.0 {
        diagnostics.add_warning(at, "weight 0: the scorer has no effect");
    }
    weight
}
