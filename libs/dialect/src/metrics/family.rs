//! Metric families, and the role that each has in a sample.

use super::text_format::Labels;

/// The part of a sample that a family provides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
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
        block: &'static str,
        /// Label with the number of blocks.
        blocks: &'static str,
    },
    /// Tokens per block, as a gauge; used only if [`Role::CacheLabels`] is absent.
    BlockTokens,
    /// Number of blocks, as a gauge.
    Blocks,
    /// Labels with the LoRA adapters; the value is the time of the last change.
    Adapters,
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
    /// Start of the process, in seconds since the Unix epoch.
    Started,
}

/// A metric family that Signalbox reads.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// Name and value of a label that series must have.
    label: Option<(&'static str, &'static str)>,
}

impl Family {
    pub(super) const fn new(name: &'static str, role: Role) -> Self {
        Self { name, role, label: None }
    }

    /// Restricts the family to series with `label`.
    pub(super) const fn with_label(
        name: &'static str,
        label: (&'static str, &'static str),
        role: Role,
    ) -> Self {
        Self { name, role, label: Some(label) }
    }

    /// Returns the rest of `line` after the name, if the line belongs to this family.
    pub(super) fn strip_name<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let rest = line.strip_prefix(self.name.as_bytes())?;
        matches!(rest.first(), Some(b'{' | b' ' | b'\t')).then_some(rest)
    }

    /// Returns whether a series of the family has the required label.
    pub(super) fn matches(&self, labels: Labels<'_>) -> bool {
        self.label.is_none_or(|(name, value)| labels.get(name).is_some_and(|found| found == value))
    }
}
