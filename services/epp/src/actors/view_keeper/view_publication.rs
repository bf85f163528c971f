//! When the state is published as a view.

use signalbox_types::Version;

/// When the state is published as a view: if it has advanced, once for all messages that wait.
#[derive(Debug, Default)]
pub(super) struct ViewPublication {
    /// Version of the state that the view shows.
    published: Option<Version>,
    /// Version of the state.
    latest: Option<Version>,
    /// Whether a publication was requested and has not begun yet.
    is_requested: bool,
}

impl ViewPublication {
    /// Records the version of the state.
    pub(super) fn record_state(&mut self, version: Option<Version>) {
        self.latest = version;
    }

    /// Returns whether a publication must be requested: the view does not show the state, and none was requested since
    /// [`Self::is_needed`] was last called.
    pub(super) fn request(&mut self) -> bool {
        let is_new = !self.is_requested && self.is_outdated();
        self.is_requested |= is_new;
        is_new
    }

    /// Returns whether the requested publication is still needed: a snapshot is published at once.
    pub(super) fn is_needed(&mut self) -> bool {
        self.is_requested = false;
        self.is_outdated()
    }

    /// Records that the state was published.
    pub(super) fn record_view(&mut self) {
        self.published = self.latest;
    }

    fn is_outdated(&self) -> bool {
        self.latest != self.published
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(seq: u64) -> Option<Version> {
        Some(Version { epoch: 1, seq })
    }

    #[test]
    fn state_is_published_once_and_only_if_it_has_advanced() {
        let mut publication = ViewPublication::default();
        assert!(!publication.request(), "there is no state yet");
        publication.record_state(version(1));
        assert!(publication.request());
        publication.record_state(version(2));
        assert!(!publication.request(), "it is on its way");
        assert!(publication.is_needed());
        publication.record_view();
        assert!(!publication.request(), "the view shows the state");
        publication.record_state(version(3));
        assert!(publication.request());
    }

    #[test]
    fn publication_is_not_needed_after_the_state_was_published_meanwhile() {
        let mut publication = ViewPublication::default();
        publication.record_state(version(1));
        assert!(publication.request());
        publication.record_view();
        assert!(!publication.is_needed());
        publication.record_state(version(2));
        assert!(publication.request());
    }
}
