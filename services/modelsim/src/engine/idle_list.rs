//! The least-recently-used order of idle cached blocks: a doubly linked list threaded through an array, so that
//! taking a block out of the middle (a cache hit) costs as little as taking the oldest (an eviction).

/// Marks "no neighbour".
const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Links {
    older: u32,
    newer: u32,
}

/// Block numbers from the oldest to the newest. A block must not be pushed twice, nor removed when absent.
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

    /// Takes `block` out, wherever it stands.
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

    /// Takes the oldest out.
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
