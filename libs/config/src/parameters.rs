//! Reads parameters of a plugin one by one. Invalid parameters are reported and replaced by their defaults.

use signalbox_document::{Fields, Located, Problems, closest_match, quoted, shortened};

/// The values that are allowed for a number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    min: f64,
    max: f64,
    is_integer: bool,
    /// Description for messages.
    description: &'static str,
}

impl Bounds {
    pub(crate) const RATIO: Self =
        Self { min: 0.0, max: 1.0, is_integer: false, description: "a number from 0 to 1" };
    pub(crate) const AT_MOST_ONE: Self =
        Self { min: f64::MIN, max: 1.0, is_integer: false, description: "a number of at most 1" };
    pub(crate) const NON_NEGATIVE: Self =
        Self { min: 0.0, max: f64::MAX, is_integer: false, description: "a number of at least 0" };
    pub(crate) const POSITIVE: Self =
        Self { min: f64::MIN_POSITIVE, max: f64::MAX, is_integer: false, description: "a number above 0" };
    pub(crate) const POSITIVE_RATIO: Self = Self {
        min: f64::MIN_POSITIVE,
        max: 1.0,
        is_integer: false,
        description: "a number above 0 and at most 1",
    };
    pub(crate) const COUNT: Self =
        Self { min: 0.0, max: 1e18, is_integer: true, description: "an integer of at least 0" };
    pub(crate) const POSITIVE_COUNT: Self =
        Self { min: 1.0, max: 1e18, is_integer: true, description: "an integer of at least 1" };
    pub(crate) const INTEGER: Self =
        Self { min: -1e18, max: 1e18, is_integer: true, description: "an integer" };
    pub(crate) const PRIORITY: Self = Self {
        min: i32::MIN as f64,
        max: i32::MAX as f64,
        is_integer: true,
        description: "an integer of 32 bits",
    };
    pub(crate) const PERCENT: Self =
        Self { min: 0.0, max: 100.0, is_integer: true, description: "an integer from 0 to 100, in percent" };
    pub(crate) const WEIGHT: Self =
        Self { min: 1.0, max: 1e6, is_integer: true, description: "an integer from 1 to 1000000" };
    pub(crate) const PORT: Self =
        Self { min: 1.0, max: 65_535.0, is_integer: true, description: "a port from 1 to 65535" };

    /// Returns the number at `at`, or reports it if it is not allowed.
    pub(crate) fn read(self, at: &Located<'_>, problems: &mut Problems) -> Option<f64> {
        let number = at.number(problems)?;
        let fits = (self.min..=self.max).contains(&number) && !(self.is_integer && number.fract() != 0.0);
        if !fits {
            let written = at.raw_text("a number", problems).unwrap_or_default();
            at.report(problems, format!("invalid value {}; write {}", shortened(written), self.description));
        }
        fits.then_some(number)
    }
}

/// The parameters of a plugin, or a mapping nested in them.
#[derive(Debug)]
pub(crate) struct Parameters<'a>(Option<Fields<'a>>);

impl<'a> Parameters<'a> {
    /// Reads the mapping at `at` and reports fields that are not in `known`. A missing or null mapping counts
    /// as empty.
    pub(crate) fn read(at: Option<Located<'a>>, known: &[&'static str], problems: &mut Problems) -> Self {
        Self(at.filter(|at| !at.is_null()).and_then(|at| at.fields(known, problems)))
    }

    pub(crate) fn optional(&self, name: &str) -> Option<Located<'a>> {
        self.0.as_ref()?.optional(name)
    }

    pub(crate) fn number(&self, name: &str, default: f64, bounds: Bounds, problems: &mut Problems) -> f64 {
        self.optional(name).and_then(|at| bounds.read(&at, problems)).unwrap_or(default)
    }

    /// Returns a count; `None` without the parameter and for 0, which stands for its default.
    pub(crate) fn limit(&self, name: &str, problems: &mut Problems) -> Option<u64> {
        let number = Bounds::COUNT.read(&self.optional(name)?, problems)?;
        Some(number as u64).filter(|number| *number > 0)
    }

    /// Returns bytes, as a number or as Kubernetes writes them; `None` as for [`Self::limit`].
    pub(crate) fn bytes(&self, name: &str, problems: &mut Problems) -> Option<u64> {
        let at = self.optional(name)?;
        let written = at.raw_text("a number of bytes such as 1000000 or 512Mi", problems)?;
        let bytes = at.parse(written, parse_bytes, problems)?;
        Some(bytes).filter(|bytes| *bytes > 0)
    }

    /// Returns a duration in milliseconds, if it is set.
    pub(crate) fn duration_ms(&self, name: &str, problems: &mut Problems) -> Option<u64> {
        self.optional(name).filter(|at| !at.is_null())?.duration_ms(problems)
    }

    pub(crate) fn boolean(&self, name: &str, default: bool, problems: &mut Problems) -> bool {
        self.optional(name).and_then(|at| at.boolean(problems)).unwrap_or(default)
    }

    pub(crate) fn text(&self, name: &str, problems: &mut Problems) -> Option<&'a str> {
        self.optional(name)?.text(problems)
    }

    /// Returns the choice whose name is the value of the parameter `name`.
    pub(crate) fn choice<T: Copy>(
        &self,
        name: &str,
        known: &[(&'static str, T)],
        default: T,
        problems: &mut Problems,
    ) -> T {
        let Some(at) = self.optional(name) else { return default };
        choice(&at, known, problems).unwrap_or(default)
    }

    pub(crate) fn nested(&self, name: &str, known: &[&'static str], problems: &mut Problems) -> Self {
        Self::read(self.optional(name), known, problems)
    }

    /// Returns the items of the list `name`. A missing or null list has none.
    pub(crate) fn items(&self, name: &str, problems: &mut Problems) -> Vec<Located<'a>> {
        let at = self.optional(name).filter(|at| !at.is_null());
        at.and_then(|at| at.items(problems)).unwrap_or_default()
    }

    /// Returns the texts in the list `name`.
    pub(crate) fn texts(&self, name: &str, problems: &mut Problems) -> Vec<String> {
        let items = self.items(name, problems);
        items.iter().filter_map(|item| item.text(problems).map(str::to_owned)).collect()
    }
}

/// Parses a number of bytes: a whole number with one of the suffixes of Kubernetes, or without.
fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
    ];
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, suffix) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == suffix).map(|(_, unit)| *unit);
    let bytes = number.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| format!("{} is not a number of bytes; write it like 1000000 or 512Mi", quoted(text)))
}

/// Returns the choice in `known` whose name is written at `at`, or reports that there is none.
pub(crate) fn choice<T: Copy>(
    at: &Located<'_>,
    known: &[(&'static str, T)],
    problems: &mut Problems,
) -> Option<T> {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    let written = at.raw_text(&names.join(" or "), problems)?;
    let found = known.iter().find(|(name, _)| *name == written).map(|(_, choice)| *choice);
    if found.is_none() {
        let hint = hint(written, &names);
        at.report(problems, format!("unknown value {}; {hint}", quoted(written)));
    }
    found
}

/// Returns how to fix `written` where one of `known` is expected.
pub(crate) fn hint(written: &str, known: &[&'static str]) -> String {
    match closest_match(written, known) {
        Some(known) => format!("did you mean {}?", quoted(known)),
        None => format!("use one of: {}", known.join(", ")),
    }
}
