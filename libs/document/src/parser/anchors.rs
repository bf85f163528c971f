//! The nodes that aliases refer to.

use std::collections::HashMap;

use crate::file::MAX_FILE_BYTES;
use crate::node::{Node, Size};

/// Number of nodes that all aliases of a text may add: far more than any file needs, and far less than aliases of
/// aliases could add.
const MAX_COPIED: usize = 10_000;

/// Memory of all copies of nodes, in bytes: those that are kept for aliases, and those that aliases add. Few nodes can
/// have long texts, and each level of nested anchors keeps a copy of those below it.
const MAX_COPIED_BYTES: usize = 16 * MAX_FILE_BYTES as usize;

const TOO_MANY_BYTES: &str = "the anchors and aliases take more than 16 MiB; write fewer";

/// The nodes with anchors that are complete.
#[derive(Default)]
pub(super) struct Anchors {
    nodes: HashMap<usize, (Node, Size)>,
    /// Number of nodes that aliases have added.
    copied: usize,
    /// Memory of all copies, in bytes.
    bytes: usize,
}

impl Anchors {
    /// Keeps `node` for aliases of the anchor with this number; 0 is none.
    ///
    /// # Errors
    /// What is wrong with the anchor, and how to fix it.
    pub(super) fn keep(&mut self, anchor: usize, node: &Node) -> Result<(), &'static str> {
        if anchor > 0 {
            let size = node.size();
            self.add_bytes(size)?;
            self.nodes.insert(anchor, (node.clone(), size));
        }
        Ok(())
    }

    /// Returns a copy of the node with this anchor, which may add `levels` levels.
    ///
    /// # Errors
    /// What is wrong with the alias, and how to fix it.
    pub(super) fn copy(&mut self, anchor: usize, levels: usize) -> Result<Node, &'static str> {
        let Some(size) = self.nodes.get(&anchor).map(|(_, size)| *size) else {
            return Err("the alias refers to a value that contains it; write the value out");
        };
        self.copied += size.nodes;
        if self.copied > MAX_COPIED {
            return Err("the aliases add more than 10000 values; write fewer");
        }
        if size.depth > levels {
            return Err("the alias nests too deeply; flatten the document");
        }
        self.add_bytes(size)?;
        Ok(self.nodes[&anchor].0.clone())
    }

    fn add_bytes(&mut self, size: Size) -> Result<(), &'static str> {
        self.bytes += size.bytes;
        if self.bytes > MAX_COPIED_BYTES { Err(TOO_MANY_BYTES) } else { Ok(()) }
    }
}
