//! The way from the root of a file to its bytes, from one piece of them to the next.
//!
//! Every node that is come to counts, whether it was at hand or not and however often it was seen before:
//! few blocks that point at each other can make up a file of very many. A few nodes of the way are held, so
//! that pieces that lie side by side are one step apart.

use std::sync::Arc;

use bytes::Bytes;
use cid::Cid;

use super::cache::{FileNode, Found};
use super::{File, MAX_DEPTH, MAX_HELD};
use crate::ContentError;

/// Gives the node of a name, which must be of so many bytes, or `None` to end the way there.
pub(super) trait Nodes:
    Fn(&Cid, u64) -> Result<Option<Arc<FileNode>>, ContentError>
{
}

impl<F: Fn(&Cid, u64) -> Result<Option<Arc<FileNode>>, ContentError>> Nodes for F {}

/// Where a read is in a file.
pub(super) struct Way<N> {
    nodes: N,
    /// The nodes above the last piece and the one that held it, each below the one before: the lowest few.
    held: Vec<Held>,
    steps_left: usize,
}

struct Held {
    node: Arc<FileNode>,
    /// Where in the file it begins.
    begins: u64,
    /// How many nodes are above it.
    depth: usize,
}

impl<N: Nodes> Way<N> {
    pub(super) fn new(max_steps: usize, nodes: N) -> Self {
        Self {
            nodes,
            held: Vec::with_capacity(MAX_HELD),
            steps_left: max_steps,
        }
    }

    /// Whether it took all its steps. A piece that was begun is gone to all the same, which takes at most
    /// [`MAX_DEPTH`] + 1.
    pub(super) fn is_over(&self) -> bool {
        self.steps_left == 0
    }

    /// The bytes from `at`, which lies before the end of `file`, to the end of the block that holds them.
    /// `None` if a node was not given.
    pub(super) fn piece(&mut self, file: &File, at: u64) -> Result<Option<Bytes>, ContentError> {
        self.held.retain(|held| held.holds(at));
        if self.held.is_empty() && !self.step(&file.cid, file.bytes, 0, 0)? {
            return Ok(None);
        }
        while let Some(held) = self.held.last() {
            let (part, begins) = match held.node.find(at.saturating_sub(held.begins)) {
                Found::Inline(bytes) => return Ok(Some(bytes)),
                Found::Part { part, before } => (part, held.begins.saturating_add(before)),
            };
            let (cid, bytes, depth) = (part.cid, part.bytes, held.depth.saturating_add(1));
            if depth > MAX_DEPTH {
                return Err(ContentError::Malformed {
                    cid: file.cid,
                    why: "it is a file of too many levels",
                });
            }
            if !self.step(&cid, bytes, begins, depth)? {
                break;
            }
        }
        Ok(None)
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Goes to a node, if it is given.
    fn step(
        &mut self,
        cid: &Cid,
        bytes: u64,
        begins: u64,
        depth: usize,
    ) -> Result<bool, ContentError> {
        self.steps_left = self.steps_left.saturating_sub(1);
        let Some(node) = (self.nodes)(cid, bytes)? else {
            return Ok(false);
        };
        if self.held.len() >= MAX_HELD {
            self.held.remove(0);
        }
        self.held.push(Held {
            node,
            begins,
            depth,
        });
        Ok(true)
    }
}

impl Held {
    fn holds(&self, at: u64) -> bool {
        at.checked_sub(self.begins)
            .is_some_and(|into| into < self.node.bytes())
    }
}
