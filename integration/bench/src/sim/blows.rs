//! Processes that are killed and come back.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use signalbox_state::GaugeScope;
use signalbox_types::Origin;

use super::replica::Replica;
use super::world::{Event, World};

/// A process that is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// What it booked is forgotten when the owner gives it up; the answers go on. It comes back with a snapshot.
    Replica(usize),
    /// What was told it and not told on yet is lost. A standby goes on from where it was.
    Owner,
}

/// A kill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blow {
    /// From the first arrival on.
    pub(crate) at_us: u64,
    pub(crate) victim: Victim,
    /// The process, or its successor, is there after so long.
    pub(crate) back_after_us: u64,
}

impl World<'_> {
    pub(super) fn kill(&mut self, now_us: u64, number: usize) {
        let Blow { victim, back_after_us, .. } = self.setup.blows[number];
        match victim {
            Victim::Owner => self.is_ownerless = true,
            Victim::Replica(replica) => {
                self.replicas[replica] = None;
                self.owners[self.owner_of[replica]].leave(replica);
                for sent in &mut self.sent {
                    sent.take_if(|(through, _)| *through == replica);
                }
            }
        }
        self.queue.put(now_us + back_after_us, Event::Back(number));
    }

    pub(super) fn come_back(&mut self, now_us: u64, number: usize) {
        match self.setup.blows[number].victim {
            Victim::Owner => self.take_over(now_us),
            Victim::Replica(replica) => {
                let (origin, own) = (Origin(self.rng.random()), SmallRng::from_rng(&mut self.rng));
                let snapshot = self.owners[self.owner_of[replica]].welcome(replica);
                self.replicas[replica] = Some(Replica::new(now_us / 1_000, origin, own, snapshot));
            }
        }
    }

    /// A standby that held the same goes on under a later epoch, sends each replica what it lacks, and is told again what the one before
    /// may not have heard.
    fn take_over(&mut self, now_us: u64) {
        self.is_ownerless = false;
        let owner = &mut self.owners[0];
        owner.turn();
        for (at, replica) in self.replicas.iter_mut().enumerate() {
            if let Some(replica) = replica {
                owner.resume(at, replica.version());
                replica.send_again();
            }
        }
        self.publish(now_us);
        for replica in 0..self.replicas.len() {
            self.tell(now_us, replica, GaugeScope::Whole);
        }
    }
}
