//! Verified nodes of files, the ones used last, within a number of bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use cid::Cid;

use crate::unixfs::{Part, UnixFs};
use crate::{Block, ContentError};

/// The most nodes that a cache keeps, so that looking through it stays a matter of a microsecond.
const MAX_NODES: usize = 256;

/// Blocks of files that were read and verified, for any number of files and threads. A block's bytes never
/// change under its name, so nothing in it goes stale.
#[derive(Debug)]
pub struct Cache {
    max_bytes: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The one used last stands last.
    nodes: VecDeque<Arc<FileNode>>,
    bytes: usize,
}

impl Cache {
    /// An empty cache. It keeps at most `max_bytes` bytes, and at least the block that was read last, which
    /// with its index may take 8 MiB if somebody made it to.
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
        let nodes = &mut self.kept().nodes;
        let at = nodes.iter().rposition(|node| node.cid == *cid)?;
        let node = nodes.remove(at)?;
        nodes.push_back(node.clone());
        Some(node)
    }

    pub(super) fn keep(&self, node: Arc<FileNode>) {
        let mut kept = self.kept();
        if kept.nodes.iter().any(|other| other.cid == node.cid) {
            return;
        }
        kept.bytes = kept.bytes.saturating_add(node.weight());
        kept.nodes.push_back(node);
        while kept.nodes.len() > 1 && (kept.bytes > self.max_bytes || kept.nodes.len() > MAX_NODES)
        {
            if let Some(oldest) = kept.nodes.pop_front() {
                kept.bytes = kept.bytes.saturating_sub(oldest.weight());
            }
        }
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

    pub(super) fn cid(&self) -> &Cid {
        &self.cid
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
