//! Lets requests wait at a simulated replica, and go on, as the tasks and streams of an EPP do.

use std::sync::atomic::Ordering;

use rand::Rng;
use signalbox_admission::{Ended, OWNER_SILENCE_MS, Seen, TICK_MS};
use signalbox_state::{FlowReport, GaugeScope};
use signalbox_types::Request;

use super::Replica;
use super::arriving::Arriving;
use crate::cluster::Cluster;
use crate::cluster::event::Timer;
use crate::counters::Counter;
use crate::plan::FaultKind;
use crate::step_checker::waits::{OwnGrants, Progress};

/// One of so many clients goes away while its request waits, if it waits long enough.
const LEAVES_ONE_OF: u32 = 8;

/// How long such a client waits at most, in milliseconds.
const LEAVES_WITHIN_MS: u64 = 1_500;

/// How long a request takes at most from the queue to its endpoint, in milliseconds.
const ON_ITS_WAY_MS: u64 = 3;

/// After how long without a fault an owner grants places, besides the lease TTL, in milliseconds.
const OWNER_SETTLES_MS: u64 = 5_000;

impl Replica {
    /// Lets a request wait that has so many tokens, or refuses it.
    pub(super) fn wait(&mut self, cluster: &mut Cluster, arriving: Arriving, request: (&Request, u64)) {
        let (now_ms, number) = (cluster.now_ms(self.node), arriving.number);
        let seen = self.heard.seen(&self.view, self.origin, now_ms);
        if self.gate.enqueue(seen, arriving, request).is_err() {
            self.arrivals.record_refusal();
            return cluster.counters.increment(Counter::Refused);
        }
        cluster.counters.increment(Counter::Waited);
        cluster.checker.check_wait(self.process(), number);
        if cluster.queue.rng.random_ratio(1, LEAVES_ONE_OF) {
            let after_ms = cluster.queue.rng.random_range(1..=LEAVES_WITHIN_MS);
            cluster.set_timer(self.node, after_ms, Timer::ClientLeaves(number));
        }
        if !self.gate.is_tended {
            self.gate.begin_tending(now_ms);
            cluster.set_timer(self.node, 0, Timer::TendWaiting);
        }
        self.has_feedback.store(true, Ordering::Relaxed);
    }

    /// Looks after the requests that wait.
    pub(super) fn tend_waiting(&mut self, cluster: &mut Cluster) {
        let now_ms = cluster.now_ms(self.node);
        let least_tokens = self.gate.least_tokens();
        let seen = self.heard.seen(&self.view, self.origin, now_ms);
        let has_owner = has_owner(seen);
        let (ended, saturation) = self.gate.tick(seen);
        let (process, count) = (self.process(), ended.granted.len());
        let grants = OwnGrants { has_owner, saturation, count, least_tokens };
        cluster.checker.check_own_grants(process, grants);
        cluster.counters.add(Counter::GrantedByReplica, count as u64);
        let has_gone = count + ended.dropped.len() > 0;
        self.end_waits(cluster, ended);
        self.check_progress(cluster, saturation.map(|saturation| saturation.value), has_gone);
        self.gate.is_tended = self.gate.waits();
        if self.gate.is_tended {
            cluster.set_timer(self.node, TICK_MS, Timer::TendWaiting);
        }
    }

    /// Checks that requests go while the replica's share of the pool has room, whose saturation is `share` if the replica grants
    /// by itself; or, while nothing disturbs the owner, while the pool has room.
    fn check_progress(&mut self, cluster: &mut Cluster, share: Option<f64>, has_gone: bool) {
        let Some(settings) = self.gate.settings().cloned() else { return };
        let now_ms = cluster.now_ms(self.node);
        let settles_us = (OWNER_SETTLES_MS + cluster.plan.lease_ttl_ms) * 1_000;
        let is_quiet =
            cluster.is_reliable() && cluster.undisturbed_us(FaultKind::is_harmless_to_streams) > settles_us;
        let seen = self.heard.seen(&self.view, self.origin, now_ms);
        let pool = || seen.pool_saturation(&settings.detector);
        let saturation = share.or_else(|| is_quiet.then(pool));
        let idle_ms = self.gate.record_progress(now_ms, saturation, has_gone);
        let backlogs = self.gate.backlogs(now_ms);
        let oldest_wait_ms = backlogs.iter().map(|(_, backlog)| backlog.oldest_wait_ms).max().unwrap_or(0);
        cluster.checker.check_progress(self.process(), &settings, Progress { idle_ms, oldest_wait_ms });
    }

    /// Lets the requests go to which the latest view grants a place, and revokes what it orders.
    pub(super) fn apply_owner_news(&mut self, cluster: &mut Cluster) {
        let now_ms = cluster.now_ms(self.node);
        let seen = self.heard.seen(&self.view, self.origin, now_ms);
        let (ended, revocations) = self.gate.apply(seen);
        self.end_waits(cluster, ended);
        self.follow_orders(cluster, revocations);
    }

    fn end_waits(&mut self, cluster: &mut Cluster, Ended { granted, dropped }: Ended<u64>) {
        if !granted.is_empty() || !dropped.is_empty() {
            self.has_feedback.store(true, Ordering::Relaxed);
        }
        for number in granted {
            cluster.counters.increment(Counter::Granted);
            cluster.checker.check_grant(self.process(), number);
            let after_ms = cluster.queue.rng.random_range(0..=ON_ITS_WAY_MS);
            cluster.set_timer(self.node, after_ms, Timer::Depart(number));
        }
        for (number, _) in dropped {
            cluster.counters.increment(Counter::WaitExpired);
            cluster.checker.check_drop(self.process(), number);
            self.gate.depart(number);
        }
    }

    /// Sends a request that was granted a place, unless its client has gone.
    pub(super) fn depart(&mut self, cluster: &mut Cluster, number: u64) {
        let Some((ticket, arriving)) = self.gate.depart(number) else { return };
        cluster.checker.check_departure(self.process(), number);
        self.send_request(cluster, arriving, true);
        self.gate.leave(ticket);
        self.has_feedback.store(true, Ordering::Relaxed);
    }

    /// Forgets a request whose client has gone, if it waits or is on its way.
    pub(super) fn end_client(&mut self, cluster: &mut Cluster, number: u64) {
        let Some((ticket, _)) = self.gate.depart(number) else { return };
        cluster.counters.increment(Counter::WaiterLeft);
        cluster.checker.check_client_gone(self.process(), number);
        self.gate.leave(ticket);
        self.has_feedback.store(true, Ordering::Relaxed);
    }

    /// Forgets all requests that wait or are on their way.
    pub(super) fn end_all_clients(&mut self, cluster: &mut Cluster) {
        self.gate.numbers().into_iter().for_each(|number| self.end_client(cluster, number));
    }

    /// Returns what waits and can be revoked, for a batch of feedback.
    pub(super) fn flow_report(&mut self, cluster: &mut Cluster, scope: GaugeScope) -> FlowReport {
        let now_ms = cluster.now_ms(self.node);
        let backlogs = self.gate.take_backlogs(now_ms);
        cluster.checker.check_backlogs(self.process(), &backlogs);
        self.gate.report(now_ms, scope, &backlogs)
    }
}

/// Returns whether the replica hears an owner that knows what waits here.
fn has_owner(seen: Seen<'_>) -> bool {
    seen.owner_silence_ms < OWNER_SILENCE_MS && seen.view.flows().origin(seen.origin).is_some()
}
