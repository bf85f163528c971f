//! What a decision reads.

use signalbox_state::{Circuit, EndpointState, LocalState, PrefixMatches, ScrapeStatus, View};
use signalbox_types::{Load, Request};

/// Bytes of prompt that count as one token.
const BYTES_PER_TOKEN: u64 = 4;

/// What a decision reads, gathered once per request.
#[derive(Clone, Copy, Debug)]
pub struct DecisionInputs<'a> {
    /// The pool.
    pub view: &'a View,
    /// What this process knows better than the pool.
    pub local: &'a LocalState,
    /// How much of the prompt each endpoint holds.
    pub matches: &'a PrefixMatches,
    /// The request.
    pub request: &'a Request,
}

/// How much can be expected of an endpoint, however busy it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its values are fresh, or it is so new that nobody has read it yet.
    Sound,
    /// Its values are not fresh any more.
    Stale,
    /// It fails request after request.
    Failing,
    /// Nothing listens at its address.
    Down,
}

impl Standing {
    /// The best first.
    pub(crate) const ALL: [Self; 4] = [Self::Sound, Self::Stale, Self::Failing, Self::Down];

    /// In a word.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Stale => "stale",
            Self::Failing => "failing",
            Self::Down => "down",
        }
    }
}

impl<'a> DecisionInputs<'a> {
    /// The endpoint at `position` of the view.
    pub(crate) fn member(&self, position: usize) -> &'a EndpointState {
        &self.view.endpoints[position]
    }

    /// All work in flight at `position`, so far as replicas gave it.
    pub(crate) fn load(&self, position: usize) -> Load {
        self.local.load_at(position, self.member(position))
    }

    /// Tokens of a block of prompt.
    pub(crate) fn block_tokens(&self) -> u64 {
        u64::from(self.view.format.block_bytes) / BYTES_PER_TOKEN
    }

    /// Leading blocks of the prompt that the endpoint at `position` holds.
    pub(crate) fn held_blocks(&self, position: usize) -> u64 {
        self.matches.blocks.get(position).map_or(0, |blocks| *blocks as u64)
    }

    /// Share of the prompt's blocks that the endpoint at `position` holds from the beginning on, 0 to 1.
    pub(crate) fn held_share(&self, position: usize) -> f64 {
        match self.matches.total {
            0 => 0.0,
            total => self.held_blocks(position) as f64 / total as f64,
        }
    }

    /// Prompt tokens beyond the blocks that the endpoint at `position` holds.
    pub(crate) fn unheld_tokens(&self, position: usize) -> u64 {
        self.request.prompt_tokens.saturating_sub(self.held_blocks(position) * self.block_tokens())
    }

    /// Whether the gateway allows the endpoint at `position`.
    pub(crate) fn is_allowed(&self, position: usize) -> bool {
        let subset = self.request.subset.as_ref();
        subset.is_none_or(|subset| subset.allows(self.member(position).spec.address))
    }

    /// How much can be expected of the endpoint at `position`, however busy it is.
    pub(crate) fn standing(&self, position: usize) -> Standing {
        let member = self.member(position);
        match (member.observed.scrape_status, member.assessment.circuit) {
            (ScrapeStatus::Down, _) => Standing::Down,
            (_, Circuit::Broken) => Standing::Failing,
            (_, Circuit::Probing) if self.load(position).requests > 0 => Standing::Failing,
            (ScrapeStatus::Stale, _) => Standing::Stale,
            (ScrapeStatus::Fresh | ScrapeStatus::Unknown, _) => Standing::Sound,
        }
    }

    /// Prompt tokens that the endpoint at `position` holds already. The last token is always computed: the first token of the
    /// answer comes out of it.
    pub(crate) fn cached_tokens(&self, position: usize) -> u64 {
        let held_tokens = self.held_blocks(position) * self.block_tokens();
        held_tokens.min(self.request.prompt_tokens.saturating_sub(1))
    }
}
