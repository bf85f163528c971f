//! Which process each origin of feedback belongs to, as all streams of a pool share it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use signalbox_state::OriginRefused;
use signalbox_types::Origin;

/// The processes to which a pool's origins belong.
#[derive(Debug)]
pub(crate) struct OriginBindings {
    started: Instant,
    bindings: Mutex<signalbox_state::OriginBindings>,
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
        let bindings = signalbox_state::OriginBindings::new(origin_ttl.as_millis() as u64);
        Self { started: Instant::now(), bindings: Mutex::new(bindings) }
    }

    /// Starts a stream of the process `peer`.
    pub(crate) fn stream<'a>(&'a self, peer: &'a str) -> StreamOrigin<'a> {
        StreamOrigin { bindings: self, peer, current: None }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn lock(&self) -> MutexGuard<'_, signalbox_state::OriginBindings> {
        self.bindings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StreamOrigin<'_> {
    /// Checks that the process may send feedback of `origin`, and binds an origin that is new.
    pub(crate) fn check(&mut self, origin: Origin) -> Result<(), OriginRefused> {
        // Most batches are of the same origin as the one before.
        if self.current == Some(origin) {
            return Ok(());
        }
        let now_ms = self.bindings.now_ms();
        self.bindings.lock().check(now_ms, self.peer, &mut self.current, origin)
    }
}

impl Drop for StreamOrigin<'_> {
    fn drop(&mut self) {
        if let Some(origin) = self.current {
            self.bindings.lock().release(self.bindings.now_ms(), origin);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_is_released_with_its_stream() {
        let bindings = OriginBindings::new(Duration::ZERO);
        let mut first = bindings.stream("epp-1");
        assert_eq!(Ok(()), first.check(Origin(7)));
        assert_eq!(Err(OriginRefused::OfAnother), bindings.stream("epp-2").check(Origin(7)));
        drop(first);
        assert_eq!(Ok(()), bindings.stream("epp-2").check(Origin(7)));
    }
}
