//! What an index holds, as it travels.

use std::collections::HashSet;
use std::sync::Arc;

use signalbox_types::{BlockHash, EndpointKey};

use crate::held::{Tail, sum_of_confirmed, sum_of_use};
use crate::kept::{At, Kept, Use};
use crate::residents::{Misfit, Residents};
use crate::tier::{Extent, Tier};

/// Consecutive blocks of one chain, and who holds them. The blocks are shared, not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The first block of the run in which the block before this one's first is; [`BlockHash::ROOT`] if there is none.
    pub parent: BlockHash,
    /// How many blocks of the chain come before it.
    pub start: u32,
    /// The blocks.
    pub blocks: Arc<[BlockHash]>,
    /// Who was sent how many of them, and when. For one endpoint in order of `end`.
    pub placed: Vec<PlacedRun>,
    /// Which of them engines said they keep.
    pub confirmed: Vec<ConfirmedRun>,
}

/// The blocks of a run before `end`, and after the end of the same endpoint's entry before, were last used at `used`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlacedRun {
    /// Who was sent them.
    pub endpoint: EndpointKey,
    /// How many of the run's blocks.
    pub end: u32,
    /// The seq of the change that last named them.
    pub used: u64,
}

/// Blocks `from..to` of a run that an engine said it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfirmedRun {
    /// Whose engine.
    pub endpoint: EndpointKey,
    /// Where.
    pub tier: Tier,
    /// How many of the run's blocks come before.
    pub from: u32,
    /// The end, not included.
    pub to: u32,
}

impl Residents {
    /// All that is held: what [`Self::from_runs`] builds the same from. In no particular order.
    ///
    /// Costs a step for each run and each of its holders, not for each block.
    pub fn runs(&self) -> impl Iterator<Item = Run> {
        let slots = self.index().slots();
        self.forest.runs().map(move |kept| {
            let endpoint = |slot: u32| slots.endpoints()[slot as usize].unwrap_or(EndpointKey(0));
            let placed = |Use { used, slot, end }: &Use| PlacedRun {
                endpoint: endpoint(*slot),
                end: *end,
                used: *used,
            };
            let confirmed = |Extent { slot, from, to, tier }: &Extent| ConfirmedRun {
                endpoint: endpoint(*slot),
                tier: *tier,
                from: *from,
                to: *to,
            };
            let is_exact = kept.blocks.len() == kept.len as usize;
            Run {
                parent: self.head_of(kept.parent),
                start: kept.start,
                blocks: if is_exact { Arc::clone(&kept.blocks) } else { kept.blocks().into() },
                placed: kept.uses.iter().map(placed).collect(),
                confirmed: kept.confirmed.iter().map(confirmed).collect(),
            }
        })
    }

    /// Builds what a snapshot describes.
    ///
    /// # Errors
    /// [`Misfit`] when the runs do not hang together.
    pub fn from_runs(mut runs: Vec<Run>) -> Result<Self, Misfit> {
        let mut residents = Self::default();
        runs.sort_by_key(|run| run.start);
        let mut numbers = Vec::with_capacity(runs.len());
        for run in runs {
            let number = residents.take_run(&run)?;
            residents.take_placed(number, &run)?;
            residents.take_confirmed(number, &run)?;
            numbers.push(number);
        }
        for number in numbers.into_iter().rev() {
            residents.forest.trim(number);
        }
        residents.sum_uses();
        Ok(residents)
    }

    fn head_of(&self, at: Option<At>) -> BlockHash {
        at.and_then(|at| self.forest.block(At { offset: 0, ..at })).unwrap_or(BlockHash::ROOT)
    }

    fn take_run(&mut self, run: &Run) -> Result<u32, Misfit> {
        let wrong = Misfit::Block(run.blocks.first().copied().unwrap_or_default());
        let parent = match run.parent {
            BlockHash::ROOT if run.start == 0 => None,
            head => {
                let parent = self.forest.headed(head).ok_or(wrong)?;
                let kept = self.forest.run(parent).ok_or(wrong)?;
                let offset = run.start.checked_sub(kept.start + 1).filter(|offset| *offset < kept.len);
                Some(At { run: parent, offset: offset.ok_or(wrong)? })
            }
        };
        if run.blocks.is_empty() || run.start.checked_add(run.blocks.len() as u32).is_none() {
            return Err(wrong);
        }
        self.forest.admit(parent, &run.blocks)?;
        Ok(self.forest.add(Kept::new(Arc::clone(&run.blocks), parent, run.start)))
    }

    fn take_placed(&mut self, number: u32, run: &Run) -> Result<(), Misfit> {
        let mut seen = HashSet::new();
        for of in run.placed.chunk_by(|a, b| a.endpoint == b.endpoint) {
            let slot = self.reserve(of[0].endpoint);
            let leads = self.forest.run(number).and_then(|kept| kept.parent).is_none_or(|at| {
                let before = self.forest.run(at.run).and_then(|parent| parent.used_at(slot, at.offset));
                before.is_some_and(|before| before >= of[0].used)
            });
            let is_ordered = of.windows(2).all(|two| two[0].end < two[1].end && two[0].used > two[1].used);
            let is_within = of[0].end > 0 && of[of.len() - 1].end as usize <= run.blocks.len();
            if !leads || !is_ordered || !is_within || !seen.insert(slot) {
                return Err(Misfit::Use(of[0].used));
            }
            let mut before = 0;
            for PlacedRun { end, used, .. } in of {
                self.take_use(number, Use { used: *used, slot, end: *end }, *end - before, of[0].endpoint);
                before = *end;
            }
        }
        Ok(())
    }

    fn take_use(&mut self, number: u32, taken: Use, blocks: u32, endpoint: EndpointKey) {
        self.forest.uses += 1;
        if let Some(kept) = self.forest.run_mut(number) {
            let place = kept.uses.partition_point(|each| (each.slot, each.end) < (taken.slot, taken.end));
            kept.uses.insert(place, taken);
        }
        let last = At { run: number, offset: taken.end - 1 };
        let position = self.forest.position(last);
        let Some(held) = self.held.get_mut(&endpoint) else { return };
        held.placed += blocks as usize;
        let tail = held.tails.entry(taken.used).or_insert(Tail { last, blocks: 0 });
        tail.blocks += blocks;
        if position > self.forest.position(tail.last) {
            tail.last = last;
        }
    }

    fn take_confirmed(&mut self, number: u32, run: &Run) -> Result<(), Misfit> {
        for ConfirmedRun { endpoint, tier, from, to } in &run.confirmed {
            if from >= to || *to as usize > run.blocks.len() {
                return Err(Misfit::Block(run.blocks[0]));
            }
            let slot = self.reserve(*endpoint);
            let Some(kept) = self.forest.run_mut(number) else { continue };
            let new = Extent::add(&mut kept.confirmed, Extent { slot, from: *from, to: *to, tier: *tier });
            let Some(held) = self.held.get_mut(endpoint) else { continue };
            held.confirmed.insert(number);
            held.was_confirmed = true;
            for block in new.iter().flat_map(|(from, to)| &run.blocks[*from as usize..*to as usize]) {
                held.add(sum_of_confirmed(*endpoint, *block, *tier));
            }
        }
        Ok(())
    }

    fn sum_uses(&mut self) {
        for (endpoint, held) in &mut self.held {
            for (used, tail) in &held.tails {
                let last = self.forest.block(tail.last).unwrap_or_default();
                held.digest = held.digest.wrapping_add(sum_of_use(*endpoint, last, *used));
            }
        }
    }
}
