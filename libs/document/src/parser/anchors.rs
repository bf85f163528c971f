//! The nodes that aliases refer to.

use std::collections::HashMap;

use crate::node::Node;

/// Number of nodes that all aliases of a text may add: far more than any file needs, and far less than aliases of
/// aliases could add.
const MAX_COPIED: usize = 10_000;

/// The nodes with anchors that are complete.
#[derive(Default)]
pub(super) struct Anchors {
    nodes: HashMap<usize, Anchored>,
    /// Number of nodes that aliases have added.
    copied: usize,
}

struct Anchored {
    node: Node,
    count: usize,
    depth: usize,
}

impl Anchors {
    /// Keeps `node` for aliases of the anchor with this number; 0 is none.
    pub(super) fn keep(&mut self, anchor: usize, node: &Node) {
        if anchor > 0 {
            let (count, depth) = node.size();
            self.nodes.insert(anchor, Anchored { node: node.clone(), count, depth });
        }
    }

    /// Returns a copy of the node with this anchor, which may add `levels` levels.
    ///
    /// # Errors
    /// What is wrong with the alias, and how to fix it.
    pub(super) fn copy(&mut self, anchor: usize, levels: usize) -> Result<Node, &'static str> {
        let Some(Anchored { node, count, depth }) = self.nodes.get(&anchor) else {
            return Err("the alias refers to a value that contains it; write the value out");
        };
        self.copied += count;
        if self.copied > MAX_COPIED {
            return Err("the aliases add more than 10000 values; write fewer");
        }
        if *depth > levels {
            return Err("the alias nests too deeply; flatten the document");
        }
        Ok(node.clone())
    }
}
