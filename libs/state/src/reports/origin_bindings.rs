//! Which process each origin of feedback belongs to: the one whose stream introduced it.

use std::collections::BTreeMap;

use signalbox_types::Origin;

/// Maximum of origins of one process. A replica has one at a time, and keeps the one before for the origin TTL.
const MAX_ORIGINS_PER_PEER: usize = 64;

/// Maximum of origins of all processes.
const MAX_ORIGINS: usize = 65_536;

/// The processes to which a pool's origins belong. An origin stays bound while a stream uses it and for the origin TTL
/// after that, for which the owner keeps it.
#[derive(Debug)]
pub struct OriginBindings {
    origin_ttl_ms: u64,
    bindings: BTreeMap<Origin, Binding>,
}

#[derive(Debug)]
struct Binding {
    peer: String,
    streams: usize,
    /// When the last stream stopped using it; meaningless while there are streams.
    idle_since_ms: u64,
}

/// A process may not send feedback of an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginRefused {
    /// The origin is bound to another process.
    #[error("the feedback is of an origin that belongs to another process; give each replica its own --name")]
    OfAnother,
    /// The process, or all processes, have too many origins.
    #[error("the feedback is of too many origins; close the other streams of this process first")]
    TooMany,
}

impl OriginBindings {
    /// Binds nothing yet. `origin_ttl_ms` is how long the owner keeps an origin that is silent, in milliseconds.
    pub fn new(origin_ttl_ms: u64) -> Self {
        Self { origin_ttl_ms, bindings: BTreeMap::new() }
    }

    /// Checks that the process `peer` may send feedback of `origin` on a stream that has sent that of `current` so far,
    /// and binds an origin that is new. The stream then sends that of `origin`.
    ///
    /// # Errors
    /// [`OriginRefused`] if it may not.
    pub fn check(
        &mut self,
        now_ms: u64,
        peer: &str,
        current: &mut Option<Origin>,
        origin: Origin,
    ) -> Result<(), OriginRefused> {
        if *current == Some(origin) {
            return Ok(());
        }
        self.bind(now_ms, origin, peer)?;
        if let Some(previous) = current.replace(origin) {
            self.release(now_ms, previous);
        }
        Ok(())
    }

    fn bind(&mut self, now_ms: u64, origin: Origin, peer: &str) -> Result<(), OriginRefused> {
        self.bindings.retain(|_, binding| {
            binding.streams > 0 || now_ms.saturating_sub(binding.idle_since_ms) < self.origin_ttl_ms
        });
        if let Some(binding) = self.bindings.get_mut(&origin) {
            if binding.peer != peer {
                return Err(OriginRefused::OfAnother);
            }
            binding.streams += 1;
            return Ok(());
        }
        let of_peer = self.bindings.values().filter(|binding| binding.peer == peer).count();
        if of_peer >= MAX_ORIGINS_PER_PEER || self.bindings.len() >= MAX_ORIGINS {
            return Err(OriginRefused::TooMany);
        }
        self.bindings.insert(origin, Binding { peer: peer.to_owned(), streams: 1, idle_since_ms: now_ms });
        Ok(())
    }

    /// Records that a stream does not send feedback of `origin` any more.
    pub fn release(&mut self, now_ms: u64, origin: Origin) {
        if let Some(binding) = self.bindings.get_mut(&origin) {
            (binding.streams, binding.idle_since_ms) = (binding.streams.saturating_sub(1), now_ms);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL_MS: u64 = 3_000;

    #[test]
    fn origin_belongs_to_the_process_that_introduced_it() {
        let mut bindings = OriginBindings::new(TTL_MS);
        let (mut first, mut next) = (None, None);
        assert_eq!(Ok(()), bindings.check(0, "epp-1", &mut first, Origin(7)));
        assert_eq!(Err(OriginRefused::OfAnother), bindings.check(0, "epp-2", &mut None, Origin(7)));
        // The process has opened its next stream before the end of the last one was noticed.
        assert_eq!(Ok(()), bindings.check(0, "epp-1", &mut next, Origin(7)));
        bindings.release(0, Origin(7));
        assert_eq!(Err(OriginRefused::OfAnother), bindings.check(TTL_MS * 2, "epp-2", &mut None, Origin(7)));
        assert_eq!(Ok(()), bindings.check(TTL_MS * 2, "epp-1", &mut next, Origin(8)));
        let (released, expired) = (TTL_MS * 2, TTL_MS * 3);
        assert_eq!(Err(OriginRefused::OfAnother), bindings.check(released, "epp-2", &mut None, Origin(7)));
        assert_eq!(Ok(()), bindings.check(expired, "epp-2", &mut None, Origin(7)), "it has expired");
    }

    #[test]
    fn origins_of_one_process_are_bounded() {
        let (mut bindings, mut current) = (OriginBindings::new(TTL_MS), None);
        for origin in 0..MAX_ORIGINS_PER_PEER as u64 {
            assert_eq!(Ok(()), bindings.check(0, "epp-1", &mut current, Origin(origin)));
        }
        assert_eq!(Err(OriginRefused::TooMany), bindings.check(0, "epp-1", &mut current, Origin(1_000)));
        assert_eq!(Ok(()), bindings.check(0, "epp-2", &mut None, Origin(1_000)));
        let later = bindings.check(TTL_MS, "epp-1", &mut current, Origin(1_001));
        assert_eq!(Ok(()), later, "the earlier ones have expired");
    }
}
