//! Converts the index to and from the runs of a snapshot.

use std::collections::HashSet;
use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey};

use super::IndexWriter;
use super::digest::{confirmed_digest, use_digest};
use super::endpoint_blocks::PromptTail;
use super::error::IndexError;
use super::eviction_order::EvictionOrder;
use super::run_store::Lost;
use super::stored_run::{BlockRef, BlockUse, StoredRun};
use crate::extent::Extent;
use crate::run::{ConfirmedRun, PlacedRun, Run};

impl IndexWriter {
    /// Returns all runs with their holders, in no particular order. [`Self::from_runs`] rebuilds the index
    /// from them.
    ///
    /// Costs one step for each run and each of its holders, not for each block.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let slots = self.index().slots();
        self.store.runs().map(move |stored| self.store.to_run(stored, &slots))
    }

    /// Begins to capture all runs as they are now. [`Self::capture_next`] returns them, whatever changes until then. An
    /// earlier capture ends.
    ///
    /// Until the capture has ended, the first change of a run that was not captured yet also copies the run's holders.
    pub fn begin_capture(&mut self) {
        self.store.begin_capture();
    }

    /// Returns the next captured runs, in no particular order. Takes about `max_steps` steps, one for each run and each
    /// of its holders.
    pub fn capture_next(&mut self, max_steps: usize) -> Vec<Run> {
        self.store.capture_next(max_steps)
    }

    /// Returns whether a capture has begun and not all of its runs were returned.
    pub fn is_capturing(&self) -> bool {
        self.store.is_capturing()
    }

    /// Returns the steps that changes have taken so far to copy runs for captures: one for each run and each of its holders.
    pub fn early_capture_steps(&self) -> usize {
        self.store.early_steps
    }

    /// Ends the capture before its runs were returned.
    pub fn end_capture(&mut self) {
        self.store.end_capture();
    }

    /// Builds an index from the runs of a snapshot.
    ///
    /// # Errors
    /// [`IndexError`] if the runs do not fit together.
    pub fn from_runs(mut runs: Vec<Run>) -> Result<Self, IndexError> {
        let mut writer = Self::default();
        runs.sort_by_key(|run| run.start);
        let mut numbers = Vec::with_capacity(runs.len());
        for run in runs {
            let number = writer.load_run(&run)?;
            writer.load_placements(number, &run)?;
            writer.load_confirmations(number, &run)?;
            numbers.push(number);
        }
        for number in numbers.into_iter().rev() {
            writer.store.trim(number, Lost::Any);
        }
        writer.add_use_digests();
        let digests = writer.endpoints.values().map(|held| held.digest);
        writer.total_digest = digests.fold(0, u64::wrapping_add);
        writer.eviction_order = EvictionOrder::new(&writer.endpoints);
        Ok(writer)
    }

    fn load_run(&mut self, run: &Run) -> Result<u32, IndexError> {
        let misplaced = IndexError::Block(run.blocks.first().copied().unwrap_or_default());
        let parent = match run.parent {
            BlockHash::ROOT if run.start == 0 => None,
            head => {
                let parent = self.store.run_starting_with(head).ok_or(misplaced)?;
                let stored = self.store.run(parent).ok_or(misplaced)?;
                let offset = run.start.checked_sub(stored.start + 1).filter(|offset| *offset < stored.len);
                Some(BlockRef { run: parent, offset: offset.ok_or(misplaced)? })
            }
        };
        if run.blocks.is_empty() || run.start.checked_add(run.blocks.len() as u32).is_none() {
            return Err(misplaced);
        }
        self.store.check_new_blocks(parent, &run.blocks)?;
        Ok(self.store.insert(StoredRun::new(Arc::clone(&run.blocks), parent, run.start)))
    }

    fn load_placements(&mut self, number: u32, run: &Run) -> Result<(), IndexError> {
        let mut seen = HashSet::new();
        for uses in run.placed.chunk_by(|a, b| a.endpoint == b.endpoint) {
            let slot = self.ensure_slot(uses[0].endpoint);
            let continues_parent = self.store.run(number).and_then(|stored| stored.parent).is_none_or(|at| {
                let parent_use = self.store.run(at.run).and_then(|parent| parent.last_used(slot, at.offset));
                parent_use.is_some_and(|parent_use| parent_use >= uses[0].used)
            });
            let is_ordered = uses.windows(2).all(|two| two[0].end < two[1].end && two[0].used > two[1].used);
            let is_within = uses[0].end > 0 && uses[uses.len() - 1].end as usize <= run.blocks.len();
            if !continues_parent || !is_ordered || !is_within || !seen.insert(slot) {
                return Err(IndexError::Use(uses[0].used));
            }
            let mut previous_end = 0;
            for PlacedRun { end, used, .. } in uses {
                self.load_use(
                    number,
                    BlockUse { used: *used, slot, end: *end },
                    *end - previous_end,
                    uses[0].endpoint,
                );
                previous_end = *end;
            }
        }
        Ok(())
    }

    fn load_use(&mut self, number: u32, new: BlockUse, blocks: u32, endpoint: EndpointKey) {
        self.store.uses += 1;
        if let Some(stored) = self.store.run_mut(number) {
            let index = stored.uses.partition_point(|each| (each.slot, each.end) < (new.slot, new.end));
            stored.uses.insert(index, new);
        }
        let last = BlockRef { run: number, offset: new.end - 1 };
        let position = self.store.position(last);
        let Some(held) = self.endpoints.get_mut(&endpoint) else { return };
        held.placed += blocks as usize;
        let tail = held.tails.entry(new.used).or_insert(PromptTail { last, blocks: 0 });
        tail.blocks += blocks;
        if position > self.store.position(tail.last) {
            tail.last = last;
        }
    }

    fn load_confirmations(&mut self, number: u32, run: &Run) -> Result<(), IndexError> {
        for ConfirmedRun { endpoint, residency, from, to } in &run.confirmed {
            if from >= to || *to as usize > run.blocks.len() {
                return Err(IndexError::Block(run.blocks[0]));
            }
            let slot = self.ensure_slot(*endpoint);
            let Some(stored) = self.store.run_mut(number) else { continue };
            let added = Extent::add(
                &mut stored.confirmed,
                Extent { slot, from: *from, to: *to, residency: *residency },
            );
            let Some(held) = self.endpoints.get_mut(endpoint) else { continue };
            held.confirmed_runs.insert(number);
            held.was_confirmed = true;
            for block in added.iter().flat_map(|(from, to)| &run.blocks[*from as usize..*to as usize]) {
                held.add_digest(confirmed_digest(*endpoint, *block, *residency));
            }
        }
        Ok(())
    }

    fn add_use_digests(&mut self) {
        for (endpoint, held) in &mut self.endpoints {
            for (used, tail) in &held.tails {
                let last = self.store.block(tail.last).unwrap_or_default();
                held.digest = held.digest.wrapping_add(use_digest(*endpoint, last, *used));
            }
        }
    }
}
