//! Metric families, and the role that each has in a sample.

use signalbox_types::MetricSpec;

use super::text_format::Labels;

/// The part of a sample that a family provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role<'e> {
    /// Waiting requests.
    Waiting,
    /// Running requests.
    Running,
    /// Share of the KV cache in use, 0 to 1.
    KvUse,
    /// [`Role::KvUse`] under the name of an older release; used only if the newer is absent.
    KvUseLegacy,
    /// Labels with the KV cache capacity.
    CacheLabels {
        /// Label with the tokens per block.
        block: &'e str,
        /// Label with the number of blocks.
        blocks: &'e str,
    },
    /// Tokens per block, as a gauge; used only if [`Role::CacheLabels`] is absent.
    BlockTokens,
    /// Number of blocks, as a gauge.
    Blocks,
    /// Labels with the LoRA adapters that have requests; the value is the time of the last change.
    Adapters,
    /// A LoRA adapter that is loaded, if the value is 1; labels name it and its place.
    LoadedAdapter,
    /// Number of LoRA adapters on the device. It shows that the page reports loaded adapters even if there
    /// are none.
    LoadedAdapters,
    /// Number of LoRA adapters that can be on the device at once; used only if [`Role::Adapters`] is absent.
    AdapterSlots,
    /// Whether the engine is awake, 0 or 1.
    Awake,
    /// Whether the engine has given up its weights in order to sleep, 0 or 1.
    Asleep,
    /// Sum of the times between consecutive output tokens, in seconds.
    InterTokenSum,
    /// Number of times in [`Role::InterTokenSum`].
    InterTokenCount,
    /// [`Role::InterTokenSum`] under the name of an older release; used only if the newer is absent.
    InterTokenSumLegacy,
    /// [`Role::InterTokenCount`] under the name of an older release; used only if the newer is absent.
    InterTokenCountLegacy,
    /// Counter of output tokens.
    GenerationTokens,
    /// Counter of prompt tokens.
    PromptTokens,
    /// Counter of requests that ended.
    Requests,
    /// Start of the process, in seconds since the Unix epoch.
    Started,
}

/// A metric family that Signalbox reads.
#[derive(Clone, Debug)]
pub(super) struct Family<'e> {
    pub(super) name: &'e str,
    pub(super) role: Role<'e>,
    required: RequiredLabels<'e>,
    /// See [`Family::per_part`].
    part_label: Option<&'e str>,
}

/// The labels that a series must have.
#[derive(Clone, Copy, Debug)]
enum RequiredLabels<'e> {
    /// One or none, with its value.
    AtMostOne(Option<(&'e str, &'e str)>),
    /// All these, with their values.
    All(&'e [(String, String)]),
}

impl<'e> Family<'e> {
    pub(super) const fn new(name: &'e str, role: Role<'e>) -> Self {
        Self { name, role, required: RequiredLabels::AtMostOne(None), part_label: None }
    }

    /// Restricts the family to series with `label`.
    pub(super) const fn with_label(name: &'e str, label: (&'e str, &'e str), role: Role<'e>) -> Self {
        Self { name, role, required: RequiredLabels::AtMostOne(Some(label)), part_label: None }
    }

    /// Returns the family that `spec` describes.
    pub(super) fn described(spec: &'e MetricSpec, role: Role<'e>) -> Self {
        let required = RequiredLabels::All(&spec.labels);
        Self { name: &spec.family, role, required, part_label: None }
    }

    /// Declares that series with the same value of the label `part_label` repeat one value, e.g. because each
    /// rank of a tensor-parallel group reports that of the group. The greatest counts.
    pub(super) const fn per_part(name: &'e str, part_label: &'e str, role: Role<'e>) -> Self {
        let required = RequiredLabels::AtMostOne(None);
        Self { name, role, required, part_label: Some(part_label) }
    }

    /// Returns the rest of `line` after the name, if the line belongs to this family.
    pub(super) fn strip_name<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let rest = line.strip_prefix(self.name.as_bytes())?;
        matches!(rest.first(), Some(b'{' | b' ' | b'\t')).then_some(rest)
    }

    /// Returns whether a series of the family has the required labels.
    pub(super) fn matches(&self, labels: Labels<'_>) -> bool {
        let has = |name: &str, value: &str| labels.get(name).is_some_and(|found| found == value);
        match self.required {
            RequiredLabels::AtMostOne(label) => label.is_none_or(|(name, value)| has(name, value)),
            RequiredLabels::All(all) => all.iter().all(|(name, value)| has(name, value)),
        }
    }

    /// Returns the part of the server that a series describes; `None` if each series describes its own.
    pub(super) fn part_of(&self, labels: Labels<'_>) -> Option<String> {
        let label = self.part_label?;
        Some(labels.get(label).map(String::from).unwrap_or_default())
    }
}
