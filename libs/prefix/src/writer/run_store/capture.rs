//! Captures all runs as they are at one moment, in parts, while the index goes on changing.

use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey};

use super::RunStore;
use crate::endpoint_slots::EndpointSlots;
use crate::extent::Extent;
use crate::run::{ConfirmedRun, PlacedRun, Run};
use crate::writer::stored_run::{BlockRef, BlockUse, StoredRun};

/// A capture in progress. The runs before `next` were taken. A run after it is taken early if it is about to change:
/// whoever changes a run copies it first.
#[derive(Debug)]
pub(super) struct Capture {
    /// The endpoint of each slot when the capture began. A run that has not changed since then uses these slots.
    slots: Arc<EndpointSlots>,
    /// The first place of a run that was not looked at in order.
    next: u32,
    /// For each place of a run when the capture began, whether there is nothing to take any more: its run was taken
    /// early, or a newer run came to a vacant place.
    is_done: Vec<bool>,
    /// The runs that were taken early since the last part.
    early: Vec<Run>,
}

impl RunStore {
    pub(in crate::writer) fn begin_capture(&mut self) {
        let (is_done, early) = (vec![false; self.runs.len()], Vec::new());
        self.capture = Some(Capture { slots: self.index.slots(), next: 0, is_done, early });
    }

    pub(in crate::writer) fn capture_next(&mut self, max_steps: usize) -> Vec<Run> {
        let Some(mut capture) = self.capture.take() else { return Vec::new() };
        let runs = capture.take_next(self, max_steps);
        self.capture = Some(capture).filter(|capture| !capture.is_complete());
        runs
    }

    pub(in crate::writer) fn is_capturing(&self) -> bool {
        self.capture.is_some()
    }

    pub(in crate::writer) fn end_capture(&mut self) {
        self.capture = None;
    }

    /// Returns a stored run as it is sent.
    pub(in crate::writer) fn to_run(&self, stored: &StoredRun, slots: &EndpointSlots) -> Run {
        let endpoint = |slot: u32| slots.endpoint(slot).unwrap_or(EndpointKey(0));
        let placed = |BlockUse { used, slot, end }: &BlockUse| PlacedRun {
            endpoint: endpoint(*slot),
            end: *end,
            used: *used,
        };
        let confirmed = |Extent { slot, from, to, residency }: &Extent| ConfirmedRun {
            endpoint: endpoint(*slot),
            residency: *residency,
            from: *from,
            to: *to,
        };
        let parent = stored.parent.and_then(|at| self.block(BlockRef { offset: 0, ..at }));
        let is_exact = stored.blocks.len() == stored.len as usize;
        Run {
            parent: parent.unwrap_or(BlockHash::ROOT),
            start: stored.start,
            blocks: if is_exact { Arc::clone(&stored.blocks) } else { stored.blocks().into() },
            placed: stored.uses.iter().map(placed).collect(),
            confirmed: stored.confirmed.iter().map(confirmed).collect(),
        }
    }

    /// Takes the run at `place` early, if it must be captured before it changes.
    pub(super) fn capture_before_change(&mut self, place: u32) {
        if self.capture.as_ref().is_some_and(|capture| capture.needs(place))
            && let Some(mut capture) = self.capture.take()
        {
            self.early_steps += self.run(place).map_or(0, steps_of);
            capture.take_early(self, place);
            self.capture = Some(capture);
        }
    }
}

/// Returns the steps that it takes to copy a run: one, and one for each holder.
fn steps_of(stored: &StoredRun) -> usize {
    1 + stored.uses.len() + stored.confirmed.len()
}

impl Capture {
    /// Returns whether the run at `place` must be taken before it changes.
    fn needs(&self, place: u32) -> bool {
        place >= self.next && self.is_done.get(place as usize) == Some(&false)
    }

    /// Takes the run at `place`, if there is one.
    fn take_early(&mut self, store: &RunStore, place: u32) {
        self.early.extend(store.run(place).map(|stored| store.to_run(stored, &self.slots)));
        self.is_done[place as usize] = true;
    }

    fn take_next(&mut self, store: &RunStore, max_steps: usize) -> Vec<Run> {
        let (mut runs, mut steps) = (std::mem::take(&mut self.early), 0);
        while steps < max_steps && !self.is_complete() {
            if !self.is_done[self.next as usize]
                && let Some(stored) = store.run(self.next)
            {
                steps += steps_of(stored);
                runs.push(store.to_run(stored, &self.slots));
            } else {
                steps += 1;
            }
            self.next += 1;
        }
        runs
    }

    fn is_complete(&self) -> bool {
        self.next as usize == self.is_done.len() && self.early.is_empty()
    }
}
