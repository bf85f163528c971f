//! When the state is published as a view.

use std::time::{Duration, Instant};

use signalbox_types::Version;

/// The minimum interval between views. Under load, the state advances more often than that, and each view costs the same
/// work again for what changes all the time. Feedback is sent at the same pace.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(2);

/// When the state is published as a view: if it has advanced, once for all messages that wait, and not too often.
#[derive(Debug, Default)]
pub(super) struct ViewPublication {
    /// Version of the state that the view shows, and when it was published.
    published: Option<(Version, Instant)>,
    /// Version of the state.
    latest: Option<Version>,
    /// Whether a publication was requested and is not due yet.
    is_requested: bool,
}

impl ViewPublication {
    /// Records the version of the state.
    pub(super) fn record_state(&mut self, version: Option<Version>) {
        self.latest = version;
    }

    /// Returns after which time the state is to be published; `None` if the view shows it, or if this was returned
    /// before and [`Self::is_needed`] was not called since.
    pub(super) fn request(&mut self, now: Instant) -> Option<Duration> {
        if self.is_requested || !self.is_outdated() {
            return None;
        }
        self.is_requested = true;
        let due_at = self.published.map_or(now, |(_, published_at)| published_at + MIN_INTERVAL);
        Some(due_at.saturating_duration_since(now))
    }

    /// Returns whether the requested publication is still needed: a snapshot is published at once.
    pub(super) fn is_needed(&mut self) -> bool {
        self.is_requested = false;
        self.is_outdated()
    }

    /// Records that the state was published at `now`.
    pub(super) fn record_view(&mut self, now: Instant) {
        self.published = self.latest.map(|version| (version, now));
    }

    fn is_outdated(&self) -> bool {
        self.latest != self.published.map(|(version, _)| version)
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
        let (mut publication, now) = (ViewPublication::default(), Instant::now());
        assert_eq!(None, publication.request(now), "there is no state yet");
        publication.record_state(version(1));
        assert_eq!(Some(Duration::ZERO), publication.request(now));
        publication.record_state(version(2));
        assert_eq!(None, publication.request(now), "it is on its way");
        assert!(publication.is_needed());
        publication.record_view(now);
        assert_eq!(None, publication.request(now), "the view shows the state");
    }

    #[test]
    fn views_are_an_interval_apart() {
        let (mut publication, start) = (ViewPublication::default(), Instant::now());
        let mut delay = |seq, at: Duration| {
            publication.record_state(version(seq));
            let delay = publication.request(start + at);
            assert!(publication.is_needed());
            publication.record_view(start + at + delay.unwrap());
            delay
        };
        let quarter = MIN_INTERVAL / 4;
        assert_eq!(Some(Duration::ZERO), delay(1, Duration::ZERO));
        assert_eq!(Some(MIN_INTERVAL - quarter), delay(2, quarter));
        assert_eq!(Some(MIN_INTERVAL - quarter), delay(3, MIN_INTERVAL + quarter));
        assert_eq!(Some(Duration::ZERO), delay(4, 3 * MIN_INTERVAL));
    }

    #[test]
    fn publication_is_not_needed_after_the_state_was_published_meanwhile() {
        let (mut publication, now) = (ViewPublication::default(), Instant::now());
        publication.record_state(version(1));
        publication.request(now);
        publication.record_view(now);
        assert!(!publication.is_needed());
        publication.record_state(version(2));
        assert_eq!(Some(MIN_INTERVAL), publication.request(now));
    }
}
