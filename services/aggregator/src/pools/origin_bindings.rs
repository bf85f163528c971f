//! Which process each origin of feedback belongs to: the one whose stream introduced it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use signalbox_types::Origin;

/// Maximum of origins of one process. A replica has one at a time, and keeps the one before for the origin TTL.
const MAX_ORIGINS_PER_PEER: usize = 64;

/// Maximum of origins of all processes.
const MAX_ORIGINS: usize = 65_536;

/// The processes to which a pool's origins belong. An origin stays bound while a stream uses it and for the origin TTL
/// after that, for which the owner keeps it.
#[derive(Debug)]
pub(crate) struct OriginBindings {
    origin_ttl: Duration,
    bindings: Mutex<BTreeMap<Origin, Binding>>,
}

#[derive(Debug)]
struct Binding {
    peer: String,
    streams: usize,
    /// When the last stream stopped using it; meaningless while there are streams.
    idle_since: Instant,
}

/// A process may not send feedback of an origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OriginRefused {
    #[error("the feedback is of an origin that belongs to another process; give each replica its own --name")]
    OfAnother,
    #[error("the feedback is of too many origins; close the other streams of this process first")]
    TooMany,
}

/// The origin of which a stream sends feedback at the moment.
#[derive(Debug)]
pub(crate) struct StreamOrigin<'a> {
    bindings: &'a OriginBindings,
    peer: &'a str,
    current: Option<Origin>,
}

impl OriginBindings {
    pub(crate) fn new(origin_ttl: Duration) -> Self {
        Self { origin_ttl, bindings: Mutex::default() }
    }

    /// Starts a stream of the process `peer`.
    pub(crate) fn stream<'a>(&'a self, peer: &'a str) -> StreamOrigin<'a> {
        StreamOrigin { bindings: self, peer, current: None }
    }

    fn bind(&self, now: Instant, origin: Origin, peer: &str) -> Result<(), OriginRefused> {
        let mut bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        bindings.retain(|_, binding| {
            binding.streams > 0 || now.saturating_duration_since(binding.idle_since) < self.origin_ttl
        });
        if let Some(binding) = bindings.get_mut(&origin) {
            if binding.peer != peer {
                return Err(OriginRefused::OfAnother);
            }
            binding.streams += 1;
            return Ok(());
        }
        let of_peer = bindings.values().filter(|binding| binding.peer == peer).count();
        if of_peer >= MAX_ORIGINS_PER_PEER || bindings.len() >= MAX_ORIGINS {
            return Err(OriginRefused::TooMany);
        }
        bindings.insert(origin, Binding { peer: peer.to_owned(), streams: 1, idle_since: now });
        Ok(())
    }

    fn release(&self, now: Instant, origin: Origin) {
        let mut bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binding) = bindings.get_mut(&origin) {
            (binding.streams, binding.idle_since) = (binding.streams.saturating_sub(1), now);
        }
    }
}

impl StreamOrigin<'_> {
    /// Checks that the process may send feedback of `origin`, and binds an origin that is new.
    pub(crate) fn check(&mut self, now: Instant, origin: Origin) -> Result<(), OriginRefused> {
        if self.current == Some(origin) {
            return Ok(());
        }
        self.bindings.bind(now, origin, self.peer)?;
        if let Some(previous) = self.current.replace(origin) {
            self.bindings.release(now, previous);
        }
        Ok(())
    }
}

impl Drop for StreamOrigin<'_> {
    fn drop(&mut self) {
        if let Some(origin) = self.current {
            self.bindings.release(Instant::now(), origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    #[test]
    fn origin_belongs_to_the_process_that_introduced_it() {
        let (bindings, now) = (OriginBindings::new(TTL), Instant::now());
        let mut first = bindings.stream("epp-1");
        assert_eq!(Ok(()), first.check(now, Origin(7)));
        assert_eq!(Err(OriginRefused::OfAnother), bindings.stream("epp-2").check(now, Origin(7)));
        // The process has opened its next stream before the end of the last one was noticed.
        let mut next = bindings.stream("epp-1");
        assert_eq!(Ok(()), next.check(now, Origin(7)));
        drop(first);
        assert_eq!(Err(OriginRefused::OfAnother), bindings.stream("epp-2").check(now + TTL * 2, Origin(7)));
        assert_eq!(Ok(()), next.check(now, Origin(8)));
        assert_eq!(Err(OriginRefused::OfAnother), bindings.stream("epp-2").check(now, Origin(7)));
        assert_eq!(Ok(()), bindings.stream("epp-2").check(now + TTL, Origin(7)), "it has expired");
    }

    #[test]
    fn origins_of_one_process_are_bounded() {
        let (bindings, now) = (OriginBindings::new(TTL), Instant::now());
        let mut stream = bindings.stream("epp-1");
        for origin in 0..MAX_ORIGINS_PER_PEER as u64 {
            assert_eq!(Ok(()), stream.check(now, Origin(origin)));
        }
        assert_eq!(Err(OriginRefused::TooMany), stream.check(now, Origin(1_000)));
        assert_eq!(Ok(()), bindings.stream("epp-2").check(now, Origin(1_000)));
        assert_eq!(Ok(()), stream.check(now + TTL, Origin(1_001)), "the earlier ones have expired");
    }
}
