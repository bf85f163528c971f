//! What a table of an engine consists of.

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
}

/// The family that this line is of, with what follows its name.
pub(super) fn find<'a>(families: &'static [Family], line: &'a [u8]) -> Option<(&'static Family, &'a [u8])> {
    families.iter().find_map(|family| {
        let rest = line.strip_prefix(family.name.as_bytes())?;
        matches!(rest.first(), Some(b'{' | b' ' | b'\t')).then_some((family, rest))
    })
}
