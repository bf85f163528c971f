//! The least-recently-used order of idle cached blocks. It is a doubly linked list inside an array, so that
//! removing a block from the middle (a cache hit) is as cheap as removing the oldest (an eviction).

/// Marks a missing neighbor.
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Links {
    older: u32,
    newer: u32,
}

/// Block numbers from oldest to newest. Callers must not push a block twice or remove an absent one.
pub(super) struct IdleList {
    links: Vec<Links>,
    oldest: u32,
    newest: u32,
    len: u32,
}

impl IdleList {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), oldest: NONE, newest: NONE, len: 0 }
    }

    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Appends `block` as the newest.
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
        self.len += 1;
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
        self.len -= 1;
    }

    /// Removes and returns the oldest block.
    pub(super) fn pop_oldest(&mut self) -> Option<u32> {
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

    use super::IdleList;

    proptest! {
        #[test]
        fn behaves_like_a_queue_with_removal(touches in proptest::collection::vec((0u32..12, any::<bool>()), 0..200)) {
            let mut list = IdleList::new();
            let mut expected: VecDeque<u32> = VecDeque::new();
            for (block, pop) in touches {
                if pop {
                    prop_assert_eq!(list.pop_oldest(), expected.pop_front());
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
