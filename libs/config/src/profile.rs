//! The profile: which plugins act, in which order, and with which weights.

use std::collections::HashSet;

use signalbox_document::{Fields, Located, quoted};
use signalbox_schedule::{
    Filter, FilterStep, LeastTime, Picker, Scorer, ScorerStep, SessionAffinity, Weighted,
};

use crate::catalogue;
use crate::findings::Findings;
use crate::plugins::{Declared, Part};
use crate::possible::Labels;

/// The name of the profile that a file without profiles has.
const DEFAULT_NAME: &str = "default";
/// The weight of a scorer without one.
const DEFAULT_WEIGHT: f64 = 1.0;

/// A plugin at its place in the profile.
struct Placed<'p, 'a> {
    at: Located<'a>,
    weight: Option<Located<'a>>,
    declared: &'p Declared<'a>,
}

/// The one profile: its name and what it says.
pub(crate) fn read(
    fields: &Fields<'_>,
    plugins: &[Declared<'_>],
    findings: &mut Findings,
) -> Option<(String, Weighted)> {
    let list = fields.optional("schedulingProfiles").filter(|at| !at.is_nothing());
    let profiles = match &list {
        Some(list) => list.items(&mut findings.problems)?,
        None => Vec::new(),
    };
    let mut profiles = profiles.into_iter();
    let Some(profile) = profiles.next() else {
        let all = plugins.iter().filter(|declared| declared.decides());
        let place = |declared| Placed { at: Declared::at(declared), weight: None, declared };
        let at = fields.optional("plugins")?;
        return Some((DEFAULT_NAME.to_owned(), assembled(&at, all.map(place).collect(), plugins, findings)));
    };
    if let Some(second) = profiles.next() {
        let message =
            "a second profile comes with prefill/decode disaggregation, which is not there yet; keep one";
        findings.problem(&second, message);
    }
    let at = profile.clone();
    let profile = profile.fields(&["name", "plugins"], &mut findings.problems)?;
    let name = profile.required("name", "NAME", &mut findings.problems);
    let name = name.and_then(|at| at.text(&mut findings.problems));
    let entries = profile.optional("plugins").filter(|at| !at.is_nothing());
    let entries = entries.and_then(|at| at.items(&mut findings.problems)).unwrap_or_default();
    let mut placed = Vec::new();
    for entry in entries {
        placed.extend(place(entry, plugins, findings));
    }
    warn_unused(&placed, plugins, findings);
    let weighted = assembled(&at, placed, plugins, findings);
    Some((name?.to_owned(), weighted))
}

impl<'a> Declared<'a> {
    fn at(&self) -> Located<'a> {
        self.plugin.at.clone()
    }

    fn decides(&self) -> bool {
        matches!(self.part, Part::Filter(_) | Part::Scorer(_) | Part::Picker(_))
    }
}

fn place<'p, 'a>(
    entry: Located<'a>,
    plugins: &'p [Declared<'a>],
    findings: &mut Findings,
) -> Option<Placed<'p, 'a>> {
    let at = entry.clone();
    let fields = entry.fields(&["pluginRef", "weight"], &mut findings.problems)?;
    let reference = fields.required("pluginRef", "NAME", &mut findings.problems)?;
    let name = reference.text(&mut findings.problems)?;
    let weight = fields.optional("weight").filter(|at| !at.is_nothing());
    match plugins.iter().find(|declared| declared.plugin.name == name) {
        Some(declared) => Some(Placed { at, weight, declared }),
        None => {
            findings.problem(
                &reference,
                format!("no plugin is called {}; {}", quoted(name), mend(name, plugins)),
            );
            None
        }
    }
}

fn mend(name: &str, plugins: &[Declared<'_>]) -> String {
    if catalogue::fate(name).is_some() {
        return format!("declare it in plugins: - type: {name}");
    }
    let distance = |known: &&str| distance(name, known);
    let names = plugins.iter().map(|declared| declared.plugin.name);
    match names.min_by_key(distance) {
        Some(nearest) => format!("the nearest is {}", quoted(nearest)),
        None => "declare it in plugins".to_owned(),
    }
}

/// Between the beginnings of two names.
fn distance(one: &str, other: &str) -> usize {
    let beginning = |name: &str| name.chars().take(64).collect::<String>();
    strsim::damerau_levenshtein(&beginning(one), &beginning(other))
}

fn warn_unused(placed: &[Placed<'_, '_>], plugins: &[Declared<'_>], findings: &mut Findings) {
    let used: HashSet<_> = placed.iter().map(|placed| placed.declared.plugin.name).collect();
    for declared in plugins.iter().filter(|declared| declared.decides()) {
        // A picker that no profile names is the profile's all the same, where it has none.
        let is_picker = matches!(declared.part, Part::Picker(_));
        if !used.contains(declared.plugin.name) && !is_picker {
            let message = format!("{} is not used: the profile does not name it", declared.plugin.shown());
            findings.warn(&declared.plugin.at, message);
        }
    }
}

/// What the profile at `profile` says.
fn assembled(
    profile: &Located<'_>,
    placed: Vec<Placed<'_, '_>>,
    plugins: &[Declared<'_>],
    findings: &mut Findings,
) -> Weighted {
    let mut weighted = Weighted { expected: LeastTime::default(), ..Weighted::default() };
    let mut picker: Option<(&str, Picker)> = None;
    let mut labels = Labels::default();
    let mut seen = HashSet::new();
    for Placed { at, weight, declared } in placed {
        let name = declared.plugin.name;
        if !seen.insert(name) {
            findings.problem(&at, format!("{} stands in the profile twice; keep one", quoted(name)));
        }
        if !matches!(declared.part, Part::Scorer(_))
            && let Some(weight) = &weight
        {
            let message = format!("{} is no scorer, and only scorers have weights; remove it", quoted(name));
            findings.problem(weight, message);
        }
        match &declared.part {
            Part::Filter(filter) => {
                labels.require(name, filter, &at, findings);
                weighted.filters.push(FilterStep { name: name.to_owned(), filter: filter.clone() });
            }
            Part::Scorer(scorer) => {
                let weight = self::weight(weight.as_ref(), findings);
                weighted.scorers.push(ScorerStep { name: name.to_owned(), scorer: scorer.clone(), weight });
            }
            Part::Picker(other) => match picker {
                Some((first, _)) => {
                    let message =
                        format!("{} is a second picker beside {}; keep one", quoted(name), quoted(first));
                    findings.problem(&at, message);
                }
                None => picker = Some((name, *other)),
            },
            Part::Parser | Part::Other => {
                let message =
                    format!("{} is no filter, scorer or picker: it does nothing in a profile", quoted(name));
                findings.warn(&at, message);
            }
        }
    }
    weighted.picker = match picker {
        Some((_, picker)) => picker,
        None => unnamed_picker(plugins, findings),
    };
    check_session_header(profile, &weighted, findings);
    let has_say = weighted.scorers.iter().any(|step| step.weight > 0.0);
    if !has_say && weighted.picker != Picker::Random {
        let message = "no scorer has a say: all that pass the filters are alike, and one is drawn";
        findings.warn(profile, message);
    }
    weighted
}

/// A response has room for one header that tells the client its endpoint.
fn check_session_header(profile: &Located<'_>, weighted: &Weighted, findings: &mut Findings) {
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
        let message = format!("sessions are told their endpoint in {first} and in {second}; use one header");
        findings.problem(profile, message);
    }
}

/// The picker of a profile that names none: the one that is declared, or the default.
fn unnamed_picker(plugins: &[Declared<'_>], findings: &mut Findings) -> Picker {
    let mut declared = plugins.iter().filter_map(|declared| match declared.part {
        Part::Picker(picker) => Some((declared, picker)),
        _ => None,
    });
    let Some((_, picker)) = declared.next() else { return Picker::default() };
    if let Some((second, _)) = declared.next() {
        let message = "the profile names none of the pickers; name one in it";
        findings.problem(&second.plugin.at, message);
    }
    picker
}

fn weight(at: Option<&Located<'_>>, findings: &mut Findings) -> f64 {
    let Some(at) = at else { return DEFAULT_WEIGHT };
    let Some(weight) = at.number(&mut findings.problems) else { return DEFAULT_WEIGHT };
    if !weight.is_finite() || weight < 0.0 {
        findings.problem(at, format!("{weight} is no weight; write a number above 0"));
    } else if weight == 0.0 {
        findings.warn(at, "a weight of 0: the scorer has no say");
    }
    weight
}
