//! The pool that a follower's streams are about.

use std::sync::OnceLock;

use signalbox_wire::{Hello, WireError};

/// The pool that all streams are about: the requested one, or the first that an aggregator names.
#[derive(Debug, Default)]
pub struct FollowedPool(OnceLock<String>);

impl FollowedPool {
    /// Returns the pool that `hello` requests, or one that is still unknown if it requests none.
    pub fn requested_by(hello: &Hello) -> Self {
        Self(hello.pool.clone().map_or_else(OnceLock::new, OnceLock::from))
    }

    /// Returns the pool's `NAMESPACE/NAME`, once it is known.
    pub fn name(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Checks that an aggregator's `hello` names this pool. An unknown pool becomes the one that `hello`
    /// names.
    pub(crate) fn check(&self, hello: &Hello) -> Result<(), WireError> {
        let Some(theirs) = hello.pool.clone() else { return Err(WireError::Missing("pool")) };
        let ours = self.0.get_or_init(|| theirs.clone());
        if *ours == theirs { Ok(()) } else { Err(WireError::Pool { theirs, ours: ours.clone() }) }
    }
}
