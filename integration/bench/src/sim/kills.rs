//! Kills and restarts of simulated processes.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_state::GaugeScope;
use signalbox_types::Origin;

use super::replica::Replica;
use super::simulation::{Event, Simulation};

/// The process to kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillTarget {
    /// A replica. The owner drops its bookings when its origin expires; responses continue. The replacement
    /// starts from a snapshot.
    Replica(usize),
    /// The owner. Feedback that it has received but not published is lost. A standby continues from its own
    /// state.
    Owner,
}

/// A kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    /// Time since the first arrival.
    pub(crate) at_us: u64,
    pub(crate) target: KillTarget,
    /// Time until the process or its successor runs.
    pub(crate) restarts_after_us: u64,
}

impl Simulation<'_> {
    pub(super) fn kill(&mut self, now_us: u64, number: usize) {
        let Kill { target, restarts_after_us, .. } = self.config.kills[number];
        match target {
            KillTarget::Owner => self.is_ownerless = true,
            KillTarget::Replica(replica) => {
                self.replicas[replica] = None;
                self.owners[self.owner_of[replica]].remove_follower(replica);
                for routed in &mut self.routed {
                    routed.take_if(|(routed_by, _)| *routed_by == replica);
                }
            }
        }
        self.queue.push(now_us + restarts_after_us, Event::Restart(number));
    }

    pub(super) fn restart(&mut self, now_us: u64, number: usize) {
        match self.config.kills[number].target {
            KillTarget::Owner => self.take_over(now_us),
            KillTarget::Replica(replica) => {
                let (origin, own) = (Origin(self.rng.random()), SmallRng::from_rng(&mut self.rng));
                let snapshot = self.owners[self.owner_of[replica]].add_follower(replica);
                let algorithm = (&self.config.contender.algorithm, self.control(), self.config.pods);
                let new = Replica::new(now_us / 1_000, (origin, own), snapshot, algorithm);
                self.replicas[replica] = Some(new);
            }
        }
    }

    /// Lets a standby with the same state continue under a higher epoch. It sends each replica the missing
    /// frames, and the replicas resend what the previous owner may not have received.
    fn take_over(&mut self, now_us: u64) {
        self.is_ownerless = false;
        let owner = &mut self.owners[0];
        owner.start_next_epoch();
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if let Some(replica) = replica {
                owner.set_follower_version(at, replica.version());
                replica.resend_unacknowledged();
            }
        }
        self.publish(now_us);
        for replica in 0..self.replicas.len() {
            self.send_feedback(now_us, replica, GaugeScope::All);
        }
    }
}
