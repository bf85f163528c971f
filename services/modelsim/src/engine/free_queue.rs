//! The queue of free blocks, in the order in which they are taken. It is a doubly linked list inside an array,
//! so that removing a block from the middle (a cache hit) is as cheap as taking the oldest. A linked hash set has the same
//! operations, but takes more than ten times as long for them: block numbers need no hashing.

/// Marks a missing neighbor.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Links {
    older: u32,
    newer: u32,
}

/// Block numbers from oldest to newest. Callers must not push a block twice or remove an absent one.
pub(super) struct FreeQueue {
    links: Vec<Links>,
    oldest: u32,
    newest: u32,
}

impl FreeQueue {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), oldest: NONE, newest: NONE }
    }

    /// Counts the blocks.
    #[cfg(test)]
    pub(super) fn len(&self) -> u32 {
        let next = |block: &u32| Some(self.links[*block as usize].newer).filter(|newer| *newer != NONE);
        std::iter::successors(Some(self.oldest).filter(|oldest| *oldest != NONE), next).count() as u32
    }

    /// Appends `block` as the newest, which is taken last.
    pub(super) fn push_newest(&mut self, block: u32) {
        let slot = block as usize;
        if slot >= self.links.len() {
            self.links.resize(slot + 1, Links { older: NONE, newer: NONE });
        }
        self.links[slot] = Links { older: self.newest, newer: NONE };
        match self.newest {
            NONE => self.oldest = block,
            newest => self.links[newest as usize].newer = block,
        }
        self.newest = block;
    }

    /// Removes `block` from any position.
    pub(super) fn remove(&mut self, block: u32) {
        let Links { older, newer } = self.links[block as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.links[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.links[newer as usize].older = older,
        }
    }

    /// Removes and returns the oldest block.
    pub(super) fn take_oldest(&mut self) -> Option<u32> {
        if self.oldest == NONE {
            return None;
        }
        let block = self.oldest;
        self.remove(block);
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::FreeQueue;

    proptest! {
        #[test]
        fn behaves_like_a_queue_with_removal(touches in proptest::collection::vec((0u32..12, any::<bool>()), 0..200)) {
            let mut list = FreeQueue::new();
            let mut expected: VecDeque<u32> = VecDeque::new();
            for (block, pop) in touches {
                if pop {
                    prop_assert_eq!(list.take_oldest(), expected.pop_front());
                } else if let Some(position) = expected.iter().position(|&other| other == block) {
                    list.remove(block);
                    expected.remove(position);
                } else {
                    list.push_newest(block);
                    expected.push_back(block);
                }
                prop_assert_eq!(list.len() as usize, expected.len());
            }
        }
    }
}
