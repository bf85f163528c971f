//! The parameters of a plugin, read one by one. What is wrong with one is reported, and its default is returned.

use signalbox_document::{Fields, Located, Problems, quoted, shortened, similar};

/// What a number may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    least: f64,
    most: f64,
    whole: bool,
    /// As it is put in messages.
    words: &'static str,
}

impl Bounds {
    pub(crate) const SHARE: Self =
        Self { least: 0.0, most: 1.0, whole: false, words: "a number from 0 to 1" };
    pub(crate) const AT_MOST_ONE: Self =
        Self { least: f64::MIN, most: 1.0, whole: false, words: "a number up to 1" };
    pub(crate) const AMOUNT: Self =
        Self { least: 0.0, most: f64::MAX, whole: false, words: "a number from 0 on" };
    pub(crate) const POSITIVE: Self =
        Self { least: f64::MIN_POSITIVE, most: f64::MAX, whole: false, words: "a number above 0" };
    pub(crate) const POSITIVE_SHARE: Self =
        Self { least: f64::MIN_POSITIVE, most: 1.0, whole: false, words: "a number above 0, up to 1" };
    pub(crate) const COUNT: Self =
        Self { least: 0.0, most: 1e18, whole: true, words: "a whole number from 0 on" };
    pub(crate) const POSITIVE_COUNT: Self =
        Self { least: 1.0, most: 1e18, whole: true, words: "a whole number from 1 on" };
    pub(crate) const WHOLE: Self = Self { least: -1e18, most: 1e18, whole: true, words: "a whole number" };
    pub(crate) const PORT: Self =
        Self { least: 1.0, most: 65_535.0, whole: true, words: "a port, 1 to 65535" };

    /// The number at `at`, if it is within.
    pub(crate) fn read(self, at: &Located<'_>, problems: &mut Problems) -> Option<f64> {
        let number = at.number(problems)?;
        let fits = (self.least..=self.most).contains(&number) && !(self.whole && number.fract() != 0.0);
        if !fits {
            let written = at.written("a number", problems).unwrap_or_default();
            at.report(problems, format!("{} is not possible; write {}", shortened(written), self.words));
        }
        fits.then_some(number)
    }
}

/// The parameters of a plugin, or a part of them.
#[derive(Debug)]
pub(crate) struct Parameters<'a>(Option<Fields<'a>>);

impl<'a> Parameters<'a> {
    /// The mapping at `at`, in which only `known` may be. Nothing is as good as an empty one.
    pub(crate) fn at(at: Option<Located<'a>>, known: &[&'static str], problems: &mut Problems) -> Self {
        Self(at.filter(|at| !at.is_nothing()).and_then(|at| at.fields(known, problems)))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<Located<'a>> {
        self.0.as_ref()?.optional(name)
    }

    pub(crate) fn number(&self, name: &str, default: f64, bounds: Bounds, problems: &mut Problems) -> f64 {
        self.optional(name).and_then(|at| bounds.read(&at, problems)).unwrap_or(default)
    }

    pub(crate) fn flag(&self, name: &str, default: bool, problems: &mut Problems) -> bool {
        self.optional(name).and_then(|at| at.boolean(problems)).unwrap_or(default)
    }

    pub(crate) fn text(&self, name: &str, problems: &mut Problems) -> Option<&'a str> {
        self.optional(name)?.text(problems)
    }

    /// The one of `known` that is written, by its name.
    pub(crate) fn word<T: Copy>(
        &self,
        name: &str,
        known: &[(&'static str, T)],
        default: T,
        problems: &mut Problems,
    ) -> T {
        let Some(at) = self.optional(name) else { return default };
        word(&at, known, problems).unwrap_or(default)
    }

    pub(crate) fn nested(&self, name: &str, known: &[&'static str], problems: &mut Problems) -> Self {
        Self::at(self.optional(name), known, problems)
    }

    /// The items of the list called `name`, none where there is no such list.
    pub(crate) fn items(&self, name: &str, problems: &mut Problems) -> Vec<Located<'a>> {
        let at = self.optional(name).filter(|at| !at.is_nothing());
        at.and_then(|at| at.items(problems)).unwrap_or_default()
    }

    /// The texts in the list called `name`.
    pub(crate) fn texts(&self, name: &str, problems: &mut Problems) -> Vec<String> {
        let items = self.items(name, problems);
        items.iter().filter_map(|item| item.text(problems).map(str::to_owned)).collect()
    }
}

/// The one of `known` that is written at `at`, by its name.
pub(crate) fn word<T: Copy>(
    at: &Located<'_>,
    known: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let written = at.written(&names.join(" or "), problems)?;
    let found = known.iter().find(|(name, _)| *name == written).map(|(_, meant)| *meant);
    if found.is_none() {
        let mend = mend(written, &names);
        at.report(problems, format!("{} is not known; {mend}", quoted(written)));
    }
    found
}

/// How to mend `written` where one of `known` is expected.
pub(crate) fn mend(written: &str, known: &[&'static str]) -> String {
    match similar(written, known) {
        Some(similar) => format!("did you mean {}?", quoted(similar)),
        None => format!("known are: {}", known.join(", ")),
    }
}
