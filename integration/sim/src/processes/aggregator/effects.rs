//! What the role asks its aggregator to do.

use signalbox_state::{CollectorStream, CountedEvent, PoolEffect, RoleEffect, RoleStatus};

use super::Aggregator;
use crate::cluster::Cluster;
use crate::cluster::coordinator::Request;
use crate::cluster::event::Timer;
use crate::cluster::message::{End, Payload};
use crate::counters::Counter;

impl Aggregator {
    /// Performs an effect of the role.
    pub(super) fn perform(&mut self, cluster: &mut Cluster, effect: RoleEffect) {
        match effect {
            RoleEffect::Pool(PoolEffect::Published(_)) | RoleEffect::WakeFollowers => {
                self.schedule_frames(cluster)
            }
            RoleEffect::Pool(PoolEffect::Assign(CollectorStream(stream), assigned)) => {
                cluster.trace(|| {
                    let names: Vec<_> =
                        assigned.iter().map(|one| (one.name.as_str(), one.generation.0)).collect();
                    format!("{} assigns on stream {stream}: {names:?}", self.node)
                });
                let process = (self.node, self.run);
                cluster.checker.check_assignment(&mut cluster.counters, process, stream, &assigned);
                cluster.send(stream, End::Client, Payload::Assignments(self.role.epoch(), assigned));
            }
            RoleEffect::Pool(PoolEffect::CloseCollector(CollectorStream(stream))) => {
                cluster.counters.increment(Counter::CollectorClosed);
                self.collectors.remove(&stream);
                cluster.close(stream, End::Server);
            }
            RoleEffect::Pool(PoolEffect::Unfinished) => self.continue_later(cluster),
            RoleEffect::Pool(PoolEffect::GrantAfter(after_ms)) => {
                cluster.set_timer(self.node, after_ms, Timer::Grant);
            }
            RoleEffect::Pool(PoolEffect::StoreSignal(signal)) => self.store_signal(cluster, signal),
            RoleEffect::Pool(PoolEffect::Count(event)) => self.check_event(cluster, event),
            RoleEffect::Pool(
                PoolEffect::NeedChain(..) | PoolEffect::Expired(_) | PoolEffect::FeedbackLeft(_),
            ) => {}
            RoleEffect::Send(stream, message) => {
                cluster.send(stream, End::Server, Payload::FromFollower(message))
            }
            RoleEffect::Claim { above, replacing } => self.claim(cluster, above, replacing),
            RoleEffect::Release => {
                if let Some(lease) = self.lease {
                    cluster.ask_coordinator(self.node, Request::Release(lease));
                }
            }
            RoleEffect::StatusChanged(status) => self.status_changed(cluster, status),
            // Each poll reads the role's history. No process invents changes.
            RoleEffect::HistoryChanged | RoleEffect::HistoryRefused(_) => {}
            RoleEffect::Gap(gap) => cluster.checker.check_gap(&mut cluster.counters, self.node, &gap),
            RoleEffect::SnapshotInstalled => cluster.counters.increment(Counter::StandbySnapshot),
            RoleEffect::EpochRefused(_) => cluster.counters.increment(Counter::EpochRefused),
        }
    }

    /// Lets the pool go on with what it left unfinished, after the messages that wait now.
    pub(super) fn continue_later(&mut self, cluster: &mut Cluster) {
        if !std::mem::replace(&mut self.is_continuing, true) {
            cluster.set_timer(self.node, 0, Timer::GoOn);
        }
    }

    fn check_event(&self, cluster: &mut Cluster, event: CountedEvent) {
        if let CountedEvent::PlacementsDropped(dropped) | CountedEvent::ChainRequestsDropped(_, dropped) =
            event
        {
            cluster.check_dropped_placements(self.node, dropped);
        }
    }

    fn status_changed(&mut self, cluster: &mut Cluster, status: RoleStatus) {
        cluster.trace(|| format!("{} is {status:?} at {:?}", self.node, self.role.version()));
        match status {
            RoleStatus::Owner(epoch) => {
                self.ask_for_signal(cluster, epoch);
                cluster.counters.increment(Counter::Takeover);
                let pool_now_ms = self.role.pool_now_ms(cluster.now_ms(self.node));
                cluster.checker.check_takeover((self.node, self.run), &self.role, pool_now_ms);
            }
            RoleStatus::TakingOver(_) => {}
            RoleStatus::Standby => {
                cluster.counters.increment(Counter::OwnershipLost);
                for stream in self.feeds.keys().copied().collect::<Vec<_>>() {
                    self.remove_feed(cluster, stream);
                    cluster.close(stream, End::Server);
                }
                let collectors = std::mem::take(&mut self.collectors).into_iter();
                collectors.for_each(|stream| cluster.close(stream, End::Server));
            }
        }
    }
}
