//! Publishes runs to readers.

use super::RunStore;
use crate::endpoint_slots::Slot;
use crate::writer::stored_run::{BlockRef, StoredRun};

/// What blocks of a run have lost, so that readers must be told.
#[derive(Clone, Copy, Debug)]
pub(in crate::writer) enum Lost {
    /// The endpoint of this slot, which was sent them.
    Placed(Slot),
    /// Perhaps more than that.
    Any,
}

impl RunStore {
    /// Publishes the current state of a run to readers.
    pub(in crate::writer) fn publish(&self, run: u32) {
        if let Some(stored) = self.run(run) {
            self.index.runs.pin().insert(stored.blocks[0], stored.to_published());
        }
    }

    /// Publishes to readers what the endpoint of `slot` was sent of a run, and how long the run is. Takes no new memory if
    /// the run has the same blocks and readers see it already.
    pub(in crate::writer) fn publish_holder(&self, run: u32, slot: Slot) {
        let Some(stored) = self.run(run) else { return };
        let (runs, head) = (self.index.runs.pin(), stored.blocks[0]);
        let published = runs.get(&head);
        if !published
            .is_some_and(|published| published.update(&stored.blocks, stored.len, stored.holder(slot)))
        {
            runs.insert(head, stored.to_published());
        }
    }

    /// Publishes a run after blocks lost a holder, and removes the blocks at its end that no endpoint needs.
    /// Continues with the parent of a run that disappears.
    pub(in crate::writer) fn trim(&mut self, run: u32, lost: Lost) {
        let mut next = Some(run);
        while let Some(run) = next.take() {
            let Some(needed_len) = self.run(run).map(StoredRun::needed_len) else { return };
            if needed_len > 0 {
                self.truncate(run, needed_len);
                match lost {
                    Lost::Placed(slot) => self.publish_holder(run, slot),
                    Lost::Any => self.publish(run),
                }
            } else if let Some(BlockRef { run, offset }) = self.remove(run)
                && let Some(parent) = self.run_mut(run)
            {
                parent.remove_branch(offset);
                // Only a branch at the end of the parent can leave unneeded blocks there.
                next = (offset + 1 == parent.len).then_some(run);
            }
        }
    }
}
