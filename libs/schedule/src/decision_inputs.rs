//! Everything that a decision reads.

use signalbox_state::{EndpointState, LocalState, PrefixMatches, View};
use signalbox_types::{Load, Request, Subset};

/// Why an endpoint cannot get a request, whatever its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exclusion {
    /// The endpoint is about to be removed.
    Draining,
    /// The gateway does not allow the endpoint.
    Subset,
}

impl Exclusion {
    /// Returns the name used in explanations.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Subset => "subset",
        }
    }
}

/// Everything that a decision reads, gathered once per request.
#[derive(Clone, Copy, Debug)]
pub struct DecisionInputs<'a> {
    /// View of the pool.
    pub view: &'a View,
    /// State of this process that is newer than the view.
    pub local: &'a LocalState,
    /// How much of the prompt each endpoint holds.
    pub matches: &'a PrefixMatches,
    /// Request to decide on.
    pub request: &'a Request,
}

impl<'a> DecisionInputs<'a> {
    /// Returns the endpoint at `position` of the view.
    pub(crate) fn endpoint(&self, position: usize) -> &'a EndpointState {
        &self.view.endpoints[position]
    }

    /// Returns all booked work in flight at the endpoint at `position`.
    pub(crate) fn load(&self, position: usize) -> Load {
        self.local.load_at(position)
    }

    /// Returns the number of leading prompt blocks that the endpoint at `position` holds.
    pub(crate) fn held_blocks(&self, position: usize) -> u64 {
        self.matches.blocks.get(position).map_or(0, |blocks| *blocks as u64)
    }

    /// Returns the number of tokens in the leading prompt blocks that the endpoint at `position` holds.
    pub(crate) fn held_tokens(&self, position: usize) -> u64 {
        let blocks = self.matches.blocks.get(position).copied().unwrap_or(0);
        self.request.tokens_in_blocks(blocks, self.view.format.block_bytes)
    }

    /// Returns the share of the prompt's blocks that the endpoint at `position` holds from the start on, 0 to
    /// 1.
    pub(crate) fn held_share(&self, position: usize) -> f64 {
        match self.matches.total {
            0 => 0.0,
            total => self.held_blocks(position) as f64 / total as f64,
        }
    }

    /// Returns the number of prompt tokens after the blocks that the endpoint at `position` holds.
    pub(crate) fn unmatched_tokens(&self, position: usize) -> u64 {
        self.request.prompt_tokens.saturating_sub(self.held_tokens(position))
    }

    /// Returns whether [`Self::exclusion`] can exclude any endpoint.
    pub(crate) fn has_exclusions(&self) -> bool {
        self.request.subset.is_some() || self.view.may_be_draining()
    }

    /// Returns why the endpoint at `position` cannot get the request; `None` if it can.
    pub(crate) fn exclusion(&self, position: usize) -> Option<Exclusion> {
        let is_draining = self.view.may_be_draining() && self.endpoint(position).spec.is_draining;
        let is_allowed = |subset: &Subset| subset.allows(self.endpoint(position).spec.address);
        match &self.request.subset {
            _ if is_draining => Some(Exclusion::Draining),
            Some(subset) if !is_allowed(subset) => Some(Exclusion::Subset),
            _ => None,
        }
    }

    /// Returns the number of prompt tokens that the endpoint at `position` need not prefill. The last token
    /// is always computed, because the first output token follows from it.
    pub(crate) fn cached_tokens(&self, position: usize) -> u64 {
        self.held_tokens(position).min(self.request.prompt_tokens.saturating_sub(1))
    }
}
