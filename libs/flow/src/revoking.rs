//! Which requests in flight give up their places to more important ones that wait.
//!
//! Only the owner knows what can be revoked at all replicas, and orders as much of it as is needed. An order is a count that
//! only grows, like a grant.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use signalbox_types::Origin;

use crate::granting::Shortage;
use crate::saturation::Saturation;

/// The maximum number of requests that are revoked at once.
const MAX_REVOCATIONS: usize = 256;

/// Which requests in flight are alike for revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocableClass {
    /// Their priority, which is negative.
    pub priority: i32,
    /// Whether their prompts are processed: they take no room for prompts any more, but still take KV cache.
    pub is_processed: bool,
}

/// The requests of one class at one replica that can be revoked. A gauge: the latest value replaces the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revocable {
    /// Requests, with those that are being revoked.
    pub requests: u64,
    /// Their uncached prompt tokens and expected output tokens.
    pub tokens: u64,
    /// How long ago the newest one was sent, in milliseconds.
    pub newest_age_ms: u64,
    /// How long ago the oldest one was sent, in milliseconds.
    pub oldest_age_ms: u64,
    /// Up to which number the replica has followed orders.
    pub revoked: u64,
}

/// The requests of one class at one replica that can be revoked, as the owner knows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerRevocable {
    /// Requests, with those that are being revoked.
    pub requests: u64,
    /// Their uncached prompt tokens and expected output tokens.
    pub tokens: u64,
    /// When the newest one was sent, in milliseconds of the owner's clock.
    pub newest_ms: u64,
    /// When the oldest one was sent, in milliseconds of the owner's clock.
    pub oldest_ms: u64,
    /// Up to which number the replica has followed orders.
    pub revoked: u64,
    /// Up to which number requests are to be revoked.
    pub ordered: u64,
}

impl PeerRevocable {
    /// The maximum number of classes of one replica.
    pub const MAX_CLASSES: usize = 2_000;

    /// Returns what is known after the replica's report at `now_ms`. Where nothing is left to revoke, orders lapse: the
    /// default value.
    pub fn after(self, now_ms: u64, report: Revocable) -> Self {
        let Revocable { requests, tokens, newest_age_ms, oldest_age_ms, revoked } = report;
        if requests == 0 {
            return Self::default();
        }
        Self {
            requests,
            tokens,
            newest_ms: now_ms.saturating_sub(newest_age_ms),
            oldest_ms: now_ms.saturating_sub(oldest_age_ms.max(newest_age_ms)),
            revoked,
            // What the replica says that it has followed was ordered, perhaps by an earlier owner.
            ordered: self.ordered.max(revoked),
        }
    }

    /// Returns how many requests are to be revoked and still there, as far as the replica has reported.
    pub fn outstanding(&self) -> u64 {
        (self.ordered - self.revoked.min(self.ordered)).min(self.requests)
    }

    /// Returns the mean cost of the requests in tokens, at least 1.
    fn mean_tokens(&self) -> u64 {
        self.tokens.div_ceil(self.requests.max(1)).max(1)
    }

    /// Returns when the newest request that is not to be revoked yet was sent, if they were sent evenly; `None` if all are to
    /// be.
    fn next_ms(&self) -> Option<u64> {
        let outstanding = Some(self.outstanding()).filter(|outstanding| *outstanding < self.requests)?;
        let span_ms = u128::from(self.newest_ms.saturating_sub(self.oldest_ms));
        let back_ms = span_ms * u128::from(outstanding) / u128::from(self.requests.saturating_sub(1).max(1));
        Some(self.newest_ms.saturating_sub(u64::try_from(back_ms).unwrap_or(u64::MAX)))
    }
}

/// Up to which number the requests of a class are to be revoked at one replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The replica.
    pub origin: Origin,
    /// The class.
    pub class: RevocableClass,
    /// How many of its requests are to have been revoked there in all.
    pub up_to: u64,
}

/// Returns what is to be revoked so that the requests go that the pool has no room for: those of the lowest priority first, of
/// these the newest, and no more than needed. What is ordered already counts as gone. `revocable` is what can be revoked at
/// each replica.
pub fn revoke(
    shortage: &Shortage,
    saturation: &Saturation,
    revocable: impl IntoIterator<Item = (Origin, RevocableClass, PeerRevocable)>,
) -> Vec<Revocation> {
    // While prompts fill the pool, one whose prompt is processed takes none of what is short.
    let helps = |class: &RevocableClass| {
        class.priority < shortage.priority.min(0) && !(class.is_processed && shortage.is_of_prompts)
    };
    let helping = revocable.into_iter().filter(|(_, class, _)| helps(class));
    let mut parts: Vec<(Origin, RevocableClass, PeerRevocable)> = helping.collect();
    let freed_by = |part: &PeerRevocable| saturation.added_by(part.mean_tokens());
    let mut freed: f64 = parts.iter().map(|(_, _, part)| part.outstanding() as f64 * freed_by(part)).sum();
    let key = |(at, (_, class, part)): (usize, &(Origin, RevocableClass, PeerRevocable))| {
        let next_ms = part.next_ms().filter(|_| freed_by(part) > 0.0)?;
        Some((Reverse(class.priority), next_ms, Reverse(at)))
    };
    let mut next: BinaryHeap<_> = parts.iter().enumerate().filter_map(key).collect();
    let mut changed = vec![false; parts.len()];
    for _ in 0..MAX_REVOCATIONS {
        if freed > shortage.excess {
            break;
        }
        let Some((_, _, Reverse(at))) = next.pop() else { break };
        let (_, _, part) = &mut parts[at];
        part.ordered = part.ordered.max(part.revoked) + 1;
        freed += freed_by(part);
        changed[at] = true;
        next.extend(key((at, &parts[at])));
    }
    let changed = parts.into_iter().zip(changed).filter(|(_, is_changed)| *is_changed);
    changed.map(|((origin, class, part), _)| Revocation { origin, class, up_to: part.ordered }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_requests_are_next_as_if_they_were_sent_evenly() {
        let report =
            Revocable { requests: 5, tokens: 96, newest_age_ms: 100, oldest_age_ms: 500, revoked: 7 };
        let mut part = PeerRevocable::default().after(1_000, report);
        assert_eq!((900, 500, 7, 20), (part.newest_ms, part.oldest_ms, part.ordered, part.mean_tokens()));
        let mut next = Vec::new();
        while let Some(next_ms) = part.next_ms() {
            next.push(next_ms);
            part.ordered += 1;
        }
        assert_eq!((vec![900, 800, 700, 600, 500], 5), (next, part.outstanding()));
    }

    #[test]
    fn orders_lapse_where_nothing_is_left() {
        let before = PeerRevocable { requests: 3, revoked: 1, ordered: 3, ..PeerRevocable::default() };
        let report = Revocable { requests: 0, revoked: 2, ..Revocable::default() };
        assert_eq!(PeerRevocable::default(), before.after(9, report));
    }
}
