//! The followers of an aggregator: how far they are, and which owner they hear.

use std::collections::BTreeMap;

use signalbox_types::Version;

use crate::replication::{Cursor, HeardOwner, Offer};

/// How long a fully caught-up follower counts as current, in milliseconds.
const CAUGHT_UP_MS: u64 = 1_000;

/// How long a report of a follower counts, in milliseconds. Followers report ten times a second to a standby.
const REPORT_TTL_MS: u64 = 1_000;

/// What a follower reported with its last cursor.
#[derive(Clone, Copy, Debug)]
struct Report {
    heard: HeardOwner,
    /// What the follower holds.
    offer: Option<Offer>,
    /// The version at which its state diverged.
    diverged_at: Option<Version>,
    at_ms: u64,
}

impl Report {
    fn holds(&self, epoch: u64) -> bool {
        self.offer.is_some_and(|offer| offer.version.epoch == epoch)
    }

    fn is_fresh(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.at_ms) < REPORT_TTL_MS
    }
}

/// What a follower says about the loss of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Testimony {
    /// It followed the owner and does not hear it any more.
    Lost,
    /// It hears this owner or a later one, or has not said anything yet.
    Objection,
    /// It never followed this owner, or said nothing recently.
    Nothing,
}

/// A follower of this aggregator.
#[derive(Debug, Default)]
struct FollowerProgress {
    name: String,
    /// When the follower was last up to date, in milliseconds of this process's clock.
    caught_up_at_ms: Option<u64>,
    report: Option<Report>,
}

impl FollowerProgress {
    fn testimony(&self, now_ms: u64, epoch: u64) -> Testimony {
        let Some(report) = self.report else { return Testimony::Objection };
        match report.heard {
            _ if !report.is_fresh(now_ms) => Testimony::Nothing,
            HeardOwner::Unknown => Testimony::Objection,
            HeardOwner::Epoch(heard) if heard >= epoch => Testimony::Objection,
            HeardOwner::Epoch(_) | HeardOwner::Nobody if report.holds(epoch) => Testimony::Lost,
            HeardOwner::Epoch(_) | HeardOwner::Nobody => Testimony::Nothing,
        }
    }
}

/// The followers of this aggregator, by stream.
#[derive(Debug, Default)]
pub(crate) struct Followers(BTreeMap<u64, FollowerProgress>);

impl Followers {
    pub(crate) fn add(&mut self, follower: u64, name: String) {
        self.0.insert(follower, FollowerProgress { name, ..FollowerProgress::default() });
    }

    pub(crate) fn remove(&mut self, follower: u64) {
        self.0.remove(&follower);
    }

    /// Returns the streams of all followers.
    pub(crate) fn streams(&self) -> impl Iterator<Item = u64> {
        self.0.keys().copied()
    }

    /// Returns the streams of the followers that can be expected to answer: not those that had reported and
    /// fell silent.
    pub(crate) fn responsive(&self, now_ms: u64) -> impl Iterator<Item = &u64> {
        let is_responsive =
            move |progress: &FollowerProgress| progress.report.is_none_or(|report| report.is_fresh(now_ms));
        self.0.iter().filter(move |(_, progress)| is_responsive(progress)).map(|(follower, _)| follower)
    }

    /// Returns what each follower holds of the pool's history, as far as they have reported.
    pub(crate) fn offers(&self) -> impl Iterator<Item = (u64, Offer)> {
        let offer = |progress: &FollowerProgress| progress.report.and_then(|report| report.offer);
        self.0.iter().filter_map(move |(follower, progress)| Some((*follower, offer(progress)?)))
    }

    /// Records the cursor that a follower sent.
    pub(crate) fn record_cursor(&mut self, now_ms: u64, follower: u64, cursor: &Cursor) {
        let Cursor { heard, diverged_at, .. } = *cursor;
        let report = Report { heard, offer: cursor.offer(), diverged_at, at_ms: now_ms };
        self.0.entry(follower).or_default().report = Some(report);
    }

    /// Returns the version at which the state of a follower has diverged, if it has reported one with its last cursor.
    pub(crate) fn diverged_at(&self, follower: u64) -> Option<Version> {
        self.0.get(&follower)?.report?.diverged_at
    }

    /// Counts `late_ms` of the followers' silence until `now_ms` as this process's own.
    pub(crate) fn excuse(&mut self, now_ms: u64, late_ms: u64) {
        for report in self.0.values_mut().filter_map(|progress| progress.report.as_mut()) {
            report.at_ms = report.at_ms.saturating_add(late_ms).min(now_ms);
        }
    }

    /// Records that a follower holds everything.
    pub(crate) fn record_caught_up(&mut self, now_ms: u64, follower: u64) {
        if let Some(progress) = self.0.get_mut(&follower) {
            progress.caught_up_at_ms = Some(now_ms);
        }
    }

    /// Returns whether the follower called `name` is up to date.
    pub(crate) fn is_caught_up(&self, now_ms: u64, name: &str) -> bool {
        let is_caught_up = |progress: &FollowerProgress| {
            progress.name == name
                && progress.caught_up_at_ms.is_some_and(|at_ms| now_ms < at_ms + CAUGHT_UP_MS)
        };
        self.0.values().any(is_caught_up)
    }

    /// Returns whether the followers confirm that the owner of `epoch` is lost: at least one followed it and
    /// does not hear it any more, and none hears it or a later one. A follower that has not reported yet
    /// might hear it.
    pub(crate) fn confirm_loss(&self, now_ms: u64, epoch: u64) -> bool {
        let mut is_confirmed = false;
        for progress in self.0.values() {
            match progress.testimony(now_ms, epoch) {
                Testimony::Objection => return false,
                Testimony::Lost => is_confirmed = true,
                Testimony::Nothing => {}
            }
        }
        is_confirmed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: u64 = 4;
    const NOW_MS: u64 = 10_000;

    fn cursor(held_epoch: u64, heard: HeardOwner) -> Cursor {
        let version = (held_epoch > 0).then_some(Version { epoch: held_epoch, seq: 7 });
        Cursor { version, epoch: EPOCH, heard, ..Cursor::default() }
    }

    /// Returns whether followers that sent these cursors at these times confirm the loss; `None`: the follower
    /// has connected and sent nothing.
    fn confirm(reports: &[Option<(u64, Cursor)>]) -> bool {
        let mut followers = Followers::default();
        for (follower, report) in (1..).zip(reports) {
            followers.add(follower, format!("replica-{follower}"));
            if let Some((at_ms, cursor)) = report {
                followers.record_cursor(*at_ms, follower, cursor);
            }
        }
        followers.confirm_loss(NOW_MS, EPOCH)
    }

    #[test]
    fn loss_is_confirmed_when_followers_of_the_owner_do_not_hear_it() {
        let lost = Some((NOW_MS, cursor(EPOCH, HeardOwner::Nobody)));
        assert!(confirm(&[lost]));
        assert!(confirm(&[lost, lost]));
        let hears_an_earlier_one = Some((NOW_MS, cursor(EPOCH, HeardOwner::Epoch(EPOCH - 1))));
        assert!(confirm(&[hears_an_earlier_one]));
    }

    #[test]
    fn loss_is_not_confirmed_without_a_witness() {
        assert!(!confirm(&[]));
        let never_followed = Some((NOW_MS, cursor(0, HeardOwner::Nobody)));
        let followed_another = Some((NOW_MS, cursor(EPOCH - 1, HeardOwner::Nobody)));
        let too_old = Some((NOW_MS - REPORT_TTL_MS, cursor(EPOCH, HeardOwner::Nobody)));
        assert!(!confirm(&[never_followed, followed_another, too_old]));
    }

    #[test]
    fn one_follower_that_hears_the_owner_or_does_not_say_prevents_the_confirmation() {
        let lost = Some((NOW_MS, cursor(EPOCH, HeardOwner::Nobody)));
        for heard in [HeardOwner::Epoch(EPOCH), HeardOwner::Epoch(EPOCH + 1), HeardOwner::Unknown] {
            assert!(!confirm(&[lost, Some((NOW_MS, cursor(EPOCH, heard)))]), "{heard:?}");
        }
        assert!(!confirm(&[lost, None]));
    }

    #[test]
    fn old_report_does_not_count_as_hearing() {
        let lost = Some((NOW_MS, cursor(EPOCH, HeardOwner::Nobody)));
        let heard = |at_ms| Some((at_ms, cursor(EPOCH, HeardOwner::Epoch(EPOCH))));
        assert!(!confirm(&[lost, heard(NOW_MS - REPORT_TTL_MS + 1)]));
        assert!(confirm(&[lost, heard(NOW_MS - REPORT_TTL_MS)]));
    }
}
