//! Verified nodes of files, the ones used last, within a number of bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cid::Cid;

use crate::unixfs::{Part, UnixFs};
use crate::{Block, ContentError};

/// The most nodes that a cache keeps, whose own bookkeeping no node's weight counts: of Kubo's chunks they
/// hold 64 MiB, more than any cache is given.
const MAX_NODES: usize = 256;

/// Blocks of files that were read and verified, for any number of files and threads. A block's bytes never
/// change under its name, so nothing in it goes stale.
#[derive(Debug)]
pub struct Cache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

/// Looking a node up takes as long with many of them as with one: it is done with the lock held, on
/// threads that must not wait.
#[derive(Debug, Default)]
struct Kept {
    /// Each node with the time of its last use.
    nodes: HashMap<Cid, (u64, Arc<FileNode>)>,
    /// The same by that time, the one used last at the end.
    by_use: BTreeMap<u64, Cid>,
    /// Counts uses.
    now: u64,
    bytes: usize,
}

impl Kept {
    fn get(&mut self, cid: &Cid) -> Option<Arc<FileNode>> {
        let (used, node) = self.nodes.get_mut(cid)?;
        self.now = self.now.saturating_add(1);
        self.by_use.remove(used);
        self.by_use.insert(self.now, *cid);
        *used = self.now;
        Some(node.clone())
    }

    fn insert(&mut self, node: Arc<FileNode>) {
        self.now = self.now.saturating_add(1);
        self.bytes = self.bytes.saturating_add(node.weight());
        self.by_use.insert(self.now, node.cid);
        self.nodes.insert(node.cid, (self.now, node));
    }

    fn remove_oldest(&mut self) {
        let oldest = self.by_use.pop_first();
        if let Some((_, node)) = oldest.and_then(|(_, cid)| self.nodes.remove(&cid)) {
            self.bytes = self.bytes.saturating_sub(node.weight());
        }
    }
}

impl Cache {
    /// An empty cache. It keeps at most `max_bytes` bytes, and at least the block that was read last, which
    /// with its index takes at most 3 MiB.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            kept: Mutex::default(),
        }
    }

    // Nothing is called while it is locked that could panic half-way.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, cid: &Cid) -> Option<Arc<FileNode>> {
        self.kept().get(cid)
    }

    /// Keeps `node`, and returns the one that is kept: that of another thread, if it was faster.
    pub(super) fn keep(&self, node: FileNode) -> Arc<FileNode> {
        let node = Arc::new(node);
        let mut kept = self.kept();
        if let Some(other) = kept.get(&node.cid) {
            return other;
        }
        kept.insert(node.clone());
        while kept.nodes.len() > 1 && (kept.bytes > self.max_bytes || kept.nodes.len() > MAX_NODES)
        {
            kept.remove_oldest();
        }
        node
    }
}

/// A node of a file, with an index over its parts.
#[derive(Debug)]
pub(super) struct FileNode {
    cid: Cid,
    bytes: u64,
    /// Its own bytes, before those of its parts.
    inline: Bytes,
    /// Each part with the place of its end in this node.
    parts: Vec<(u64, Part)>,
    block_bytes: usize,
}

/// Where a byte of a node is.
pub(super) enum Found<'a> {
    /// In the node itself: from that byte on.
    Inline(Bytes),
    /// In a part, which begins after `before` bytes of the node.
    Part { part: &'a Part, before: u64 },
}

impl FileNode {
    /// The node in `block`, or `None` if it is no file.
    pub(super) fn of(block: &Block) -> Result<Option<Self>, ContentError> {
        let UnixFs::File {
            inline,
            parts,
            bytes,
        } = UnixFs::decode(block)?
        else {
            return Ok(None);
        };
        let mut end = inline.len() as u64;
        let parts = parts
            .into_iter()
            .map(|part| {
                // Their sum was found not to overflow when the block was decoded.
                end = end.saturating_add(part.bytes);
                (end, part)
            })
            .collect();
        Ok(Some(Self {
            cid: *block.cid(),
            bytes,
            inline,
            parts,
            block_bytes: block.bytes().len(),
        }))
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Refuses the node if it has another size than was promised.
    pub(super) fn expect(&self, listed: u64) -> Result<(), ContentError> {
        if self.bytes == listed {
            return Ok(());
        }
        Err(ContentError::SizeDiffers {
            cid: self.cid,
            listed,
            found: self.bytes,
        })
    }

    /// Where the byte `at` is, which must lie before the end. Parts without bytes are passed over.
    pub(super) fn find(&self, at: u64) -> Found<'_> {
        let index = self.parts.partition_point(|(end, _)| *end <= at);
        match self.parts.get(index) {
            Some((end, part)) if at >= self.inline.len() as u64 => Found::Part {
                part,
                before: end.saturating_sub(part.bytes),
            },
            _ => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                Found::Inline(self.inline.slice(at.min(self.inline.len())..))
            }
        }
    }

    fn weight(&self) -> usize {
        let index = size_of_val(self.parts.as_slice());
        self.block_bytes.saturating_add(index)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::Codec;

    fn leaf(bytes: Vec<u8>) -> FileNode {
        let block = Block::new(Codec::Raw, bytes).unwrap();
        FileNode::of(&block).unwrap().unwrap()
    }

    #[test]
    fn the_nodes_used_last_stay_within_both_bounds() {
        let cache = Cache::new(25);
        let [one, two, three] = [1, 2, 3].map(|n| cache.keep(leaf(vec![n; 10])).cid);
        assert!(cache.get(&one).is_none());
        assert!(cache.get(&two).is_some());
        cache.keep(leaf(vec![4; 10]));
        assert!(cache.get(&two).is_some());
        assert!(cache.get(&three).is_none());
        let cache = Cache::new(usize::MAX);
        for n in 0..2 * MAX_NODES {
            cache.keep(leaf(n.to_be_bytes().to_vec()));
        }
        let kept = cache.kept();
        assert_eq!(
            (kept.nodes.len(), kept.by_use.len()),
            (MAX_NODES, MAX_NODES)
        );
        assert_eq!(kept.bytes, MAX_NODES * size_of::<usize>());
    }

    #[test]
    fn a_node_that_two_threads_read_is_kept_once() {
        let cache = Cache::new(100);
        let first = cache.keep(leaf(vec![1]));
        assert!(Arc::ptr_eq(&first, &cache.keep(leaf(vec![1]))));
    }
}
