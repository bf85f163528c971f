//! The requests in flight of one pool that can be revoked at a replica, and the owner's orders to do so.

use std::collections::BTreeMap;

use signalbox_flow::{PeerRevocable, Revocable, RevocableClass};
use signalbox_state::GaugeScope;

/// Identifies a request that can be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocableTicket {
    class: RevocableClass,
    /// Later requests have higher numbers.
    number: u64,
}

impl RevocableTicket {
    /// Returns the class of the request.
    pub fn class(self) -> RevocableClass {
        self.class
    }
}

/// The requests in flight that can be revoked. Each waiter `W` is handed back at most once: when its request is revoked.
///
/// A revoked request is *leaving* until its booking is released. Meanwhile it is reported as one that can be revoked, and its
/// order as not followed: otherwise another one would be revoked for the same place.
#[derive(Debug)]
pub struct RevocableRequests<W> {
    next_number: u64,
    /// Classes are kept for ever, because the numbers of orders must not start again. There are as many as objectives with a
    /// negative priority.
    classes: BTreeMap<RevocableClass, Class<W>>,
}

#[derive(Debug)]
struct Class<W> {
    /// By number: the oldest first.
    requests: BTreeMap<u64, Request<W>>,
    /// How many of them are leaving.
    leaving: u64,
    tokens: u64,
    /// Up to which number orders were followed, or have lapsed.
    followed: u64,
    /// What was reported last.
    reported: Gauge,
}

#[derive(Debug)]
struct Request<W> {
    /// `None` if the request is leaving.
    waiter: Option<W>,
    tokens: u64,
    sent_ms: u64,
}

/// What is reported at each change: requests, tokens, and up to which number orders were followed.
type Gauge = (u64, u64, u64);

impl<W> Default for RevocableRequests<W> {
    fn default() -> Self {
        Self { next_number: 0, classes: BTreeMap::new() }
    }
}

impl<W> Default for Class<W> {
    fn default() -> Self {
        Self { requests: BTreeMap::new(), leaving: 0, tokens: 0, followed: 0, reported: Gauge::default() }
    }
}

impl<W> RevocableRequests<W> {
    /// Adds a request of a negative priority that was sent to an endpoint at `now_ms`. `tokens` are its uncached prompt tokens
    /// and expected output tokens. `waiter` is returned if the request is to be revoked.
    pub fn insert(&mut self, now_ms: u64, priority: i32, tokens: u64, waiter: W) -> RevocableTicket {
        let class = RevocableClass { priority, is_processed: false };
        let number = self.next_number;
        self.next_number += 1;
        self.add(class, number, Request { waiter: Some(waiter), tokens, sent_ms: now_ms });
        RevocableTicket { class, number }
    }

    /// Records that the request's prompt is processed.
    pub fn record_processed(&mut self, ticket: &mut RevocableTicket) {
        let class = RevocableClass { is_processed: true, ..ticket.class };
        if class == ticket.class {
            return;
        }
        if let Some(request) = self.take(*ticket, |request| request.waiter.is_some()) {
            ticket.class = class;
            self.add(class, ticket.number, request);
        }
    }

    /// Removes a request whose response begins, which has ended, or which was revoked and whose booking is released. Returns
    /// whether it was known.
    pub fn remove(&mut self, ticket: RevocableTicket) -> bool {
        self.take(ticket, |_| true).is_some()
    }

    /// Follows orders: of each class, revokes the newest requests, and returns their waiters. An order lapses as far as there
    /// are no more requests, and as a whole if nothing of a higher priority waits any more, of which `highest_waiting` is the
    /// highest.
    pub fn follow(
        &mut self,
        highest_waiting: Option<i32>,
        orders: impl IntoIterator<Item = (RevocableClass, u64)>,
    ) -> Vec<W> {
        let mut revoked = Vec::new();
        for (key, up_to) in orders {
            let class = self.classes.entry(key).or_default();
            let ordered = up_to.saturating_sub(class.followed);
            class.followed = class.followed.max(up_to);
            if highest_waiting.is_some_and(|highest| highest > key.priority) {
                revoked.extend(class.revoke_newest(ordered));
            }
        }
        revoked
    }

    /// Returns what can be revoked of each class, to be reported: of all of which something can, or of those of which this has
    /// changed since it was last returned. It is of the lowest priorities if there are more classes than can be reported.
    pub fn report(&mut self, now_ms: u64, scope: GaugeScope) -> Vec<(RevocableClass, Revocable)> {
        let mut reported = Vec::new();
        for (key, class) in self.classes.iter_mut().take(PeerRevocable::MAX_CLASSES) {
            let gauge = class.gauge();
            let is_told = match scope {
                GaugeScope::All => gauge.0 > 0,
                GaugeScope::Changed => gauge != class.reported,
            };
            class.reported = gauge;
            if is_told {
                reported.push((*key, class.revocable(now_ms)));
            }
        }
        reported
    }

    fn add(&mut self, class: RevocableClass, number: u64, request: Request<W>) {
        let class = self.classes.entry(class).or_default();
        class.tokens = class.tokens.saturating_add(request.tokens);
        class.requests.insert(number, request);
    }

    fn take(&mut self, ticket: RevocableTicket, may: impl FnOnce(&Request<W>) -> bool) -> Option<Request<W>> {
        let class = self.classes.get_mut(&ticket.class)?;
        class.requests.get(&ticket.number).filter(|request| may(request))?;
        let request = class.requests.remove(&ticket.number)?;
        class.tokens = class.tokens.saturating_sub(request.tokens);
        class.leaving -= u64::from(request.waiter.is_none());
        Some(request)
    }
}

impl<W> Class<W> {
    fn revoke_newest(&mut self, count: u64) -> Vec<W> {
        let newest = self.requests.values_mut().rev().filter_map(|request| request.waiter.take());
        let revoked: Vec<W> = newest.take(usize::try_from(count).unwrap_or(usize::MAX)).collect();
        self.leaving += revoked.len() as u64;
        revoked
    }

    fn gauge(&self) -> Gauge {
        (self.requests.len() as u64, self.tokens, self.followed - self.leaving)
    }

    fn revocable(&self, now_ms: u64) -> Revocable {
        let (requests, tokens, revoked) = self.gauge();
        let age_ms = |request: Option<(&u64, &Request<W>)>| {
            request.map_or(0, |(_, request)| now_ms.saturating_sub(request.sent_ms))
        };
        let (newest, oldest) = (self.requests.last_key_value(), self.requests.first_key_value());
        Revocable { requests, tokens, newest_age_ms: age_ms(newest), oldest_age_ms: age_ms(oldest), revoked }
    }
}

#[cfg(test)]
mod tests;
