//! Revokes requests in flight of a simulated replica, as the streams of an EPP do.

use std::sync::atomic::Ordering;

use rand::Rng;
use signalbox_flow::RevocableClass;

use super::Replica;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::counters::Counter;

/// How long a stream takes at most to answer a request that is revoked, in milliseconds.
const ANSWERS_WITHIN_MS: u64 = 3;

/// Returns whether the response to a request comes in one piece, when the last of its output does.
fn comes_whole(number: u64) -> bool {
    number.is_multiple_of(2)
}

impl Replica {
    /// Lets a request be revoked that was sent with this priority and so many tokens.
    pub(super) fn make_revocable(&mut self, cluster: &mut Cluster, number: u64, request: (i32, u64)) {
        if self.gate.add_revocable(cluster.now_ms(self.node), number, request) {
            cluster.checker.record_revocable(self.process(), number);
        }
    }

    /// Follows orders: for each, the number of the request, its class and up to which number this is to be revoked.
    pub(super) fn follow_orders(&mut self, cluster: &mut Cluster, orders: Vec<(u64, RevocableClass, u64)>) {
        for order in orders {
            cluster.checker.check_order(self.process(), order);
            let after_ms = cluster.queue.rng.random_range(0..=ANSWERS_WITHIN_MS);
            cluster.set_timer(self.node, after_ms, Timer::Revoke(order.0));
            self.has_feedback.store(true, Ordering::Relaxed);
        }
    }

    /// Answers a request that is to be revoked, unless its response has begun.
    pub(super) fn revoke(&mut self, cluster: &mut Cluster, number: u64) {
        if !self.gate.is_revocable(number) {
            return cluster.counters.increment(Counter::RevokedTooLate);
        }
        cluster.counters.increment(Counter::Revoked);
        cluster.checker.check_revocation(self.process(), number);
        self.arrivals.record_refusal();
        self.release(cluster, number);
        self.remove_revocable(number);
    }

    /// Records the first output of a request. The gateway sees it at once, unless the response comes in one piece.
    pub(super) fn record_revocable_output(&mut self, cluster: &mut Cluster, number: u64) {
        if comes_whole(number) {
            self.gate.record_processed(number);
        } else {
            self.end_revocable(cluster, number);
        }
    }

    /// Records that the response of a request begins, or that the request has ended.
    pub(super) fn end_revocable(&mut self, cluster: &mut Cluster, number: u64) {
        cluster.checker.check_response(self.process(), number);
        self.remove_revocable(number);
    }

    fn remove_revocable(&mut self, number: u64) {
        if self.gate.remove_revocable(number) {
            self.has_feedback.store(true, Ordering::Relaxed);
        }
    }
}
