//! What a table of an engine consists of.

use super::page::Labels;

/// What a family's series mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Requests that wait.
    Waiting,
    /// Requests that run.
    Running,
    /// Share of the KV cache in use, 0 to 1.
    KvUse,
    /// The same under the name of an older release; counts where [`Role::KvUse`] is absent.
    KvUseOlder,
    /// Labels that tell the size of the KV cache.
    CacheLabels {
        /// The label with the tokens of a block.
        block: &'static str,
        /// The label with the number of blocks.
        blocks: &'static str,
    },
    /// Tokens of a block, as a gauge; counts where [`Role::CacheLabels`] is absent.
    BlockTokens,
    /// Number of blocks, as a gauge.
    Blocks,
    /// Labels that tell the LoRA adapters; the value is the time of the last change.
    Adapters,
    /// Sum of the seconds between two tokens of an answer.
    InterTokenSum,
    /// How many such times.
    InterTokenCount,
    /// [`Role::InterTokenSum`] under the name of an older release; counts where the newer is absent.
    InterTokenSumOlder,
    /// [`Role::InterTokenCount`] under the name of an older release; counts where the newer is absent.
    InterTokenCountOlder,
    /// Tokens of answers, a counter.
    GenerationTokens,
    /// Tokens of prompts, a counter.
    PromptTokens,
    /// When the process started, in seconds since the Unix epoch.
    Started,
}

/// A family that matters to an engine's reading.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) role: Role,
    /// Only series with this label are meant: its name, and what it must say.
    label: Option<(&'static str, &'static str)>,
}

impl Family {
    pub(super) const fn new(name: &'static str, role: Role) -> Self {
        Self { name, role, label: None }
    }

    /// Of a family only the series with this label.
    pub(super) const fn with(name: &'static str, label: (&'static str, &'static str), role: Role) -> Self {
        Self { name, role, label: Some(label) }
    }

    /// What follows the name on a line of this family.
    pub(super) fn rest<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let rest = line.strip_prefix(self.name.as_bytes())?;
        matches!(rest.first(), Some(b'{' | b' ' | b'\t')).then_some(rest)
    }

    /// Whether a series of the family is meant.
    pub(super) fn means(&self, labels: Labels<'_>) -> bool {
        self.label.is_none_or(|(name, value)| labels.get(name).is_some_and(|told| told == value))
    }
}
